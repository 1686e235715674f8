"""A disk that is slow, or does not answer at all, holds up nobody who does not need it; no look undoes a newer one."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.simulation import Simulation, document
from tests.unit.test_specfiles import Desk

from opeva_specs import specfiles
from opeva_specs.listing import Listing
from opeva_specs.sighting import Before, Eyes, Sighting
from opeva_specs.volume import SENTINEL, SharedVolume
from opeva_specs.wanted import Absent, Present, Unsure


class Disk:
    """Lets reads of some files wait until it answers again."""

    def __init__(self) -> None:
        self.answers, self.is_asked = threading.Event(), threading.Event()
        self.file = ""

    def read(self, volume: SharedVolume, relative: str, limit: int) -> bytes:
        if relative == self.file:
            self.is_asked.set()
            assert self.answers.wait(30)
        return READ(volume, relative, limit)


READ = SharedVolume.read


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(SharedVolume, "read", lambda *request: disk.read(*request))
    yield disk
    disk.answers.set()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "data")


def beside(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_a_running_job_is_stopped_while_a_scan_waits_for_the_disk(tmp_path: Path, disk: Disk) -> None:
    s = Simulation(tmp_path / "data")
    s.drop("a")
    s.run()
    s.is_deaf = True
    s.drop("b")
    disk.file = "specs/b.yaml"
    scan = beside(s.operator._specs.scan)
    assert disk.is_asked.wait(10)
    s.is_deaf = False
    s.wish("a", "stop")
    work = beside(s.run)
    work.join(10)
    assert not work.is_alive()
    assert s.phase("a") == "Stopped StoppedByUser"
    disk.answers.set()
    scan.join(10)
    s.wait(2)
    assert s.is_live("b")


def test_one_asks_a_disk_that_does_not_answer_and_the_others_are_told(desk: Desk, disk: Disk) -> None:
    desk.write("a.yaml", document("a"))
    desk.now += timedelta(seconds=1)
    disk.file = f"specs/{SENTINEL}"
    one = beside(lambda: desk.wanted("gone", "gone.yaml"))
    assert disk.is_asked.wait(10)
    found: list[object] = []
    others = beside(lambda: found.extend(desk.wanted(f"gone{n}", "gone.yaml") for n in range(20)))
    others.join(5)
    assert found == [Unsure(message="specs/ does not answer")] * 20
    assert isinstance(desk.wanted("a"), Present)
    disk.answers.set()
    one.join(10)
    assert isinstance(desk.wanted("gone", "gone.yaml"), Absent)


def during_the_look(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have that done once, after the next look at a file has seen it and before it is believed."""
    look, left = Eyes.look, [act]

    def slow(eyes: Eyes, *request: object) -> Sighting:
        seen: Sighting = look(eyes, *request)  # type: ignore[arg-type]
        if left:
            left.pop()()
        return seen

    monkeypatch.setattr(Eyes, "look", slow)


def test_what_a_scan_saw_before_a_newer_look_is_not_believed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("a.yaml", document("a", args=["1"]))
    before = desk.digest()
    (desk.volume.specs / "a.yaml").unlink()
    during_the_look(monkeypatch, lambda: desk.write("a.yaml", document("a", args=["2"])))
    look = desk.scan(after=9)
    assert (look.names, look.again_after) == (frozenset(), timedelta(seconds=1))
    assert desk.digest() != before


def test_a_look_that_was_overtaken_is_taken_again_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put("a.yaml", document("a", args=["1"]))
    during_the_look(monkeypatch, lambda: desk.write("a.yaml", document("a", args=["2"])))
    assert desk.store.look("a.yaml", True, desk.clock).again_after is None
    newest = desk.digest()
    desk.write("a.yaml", document("a", args=["2"]))
    assert desk.digest() == newest


def test_a_file_that_came_after_the_walk_is_not_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = specfiles.walk

    def slow(*request: object) -> Listing:
        listing = walk(*request)  # type: ignore[arg-type]
        desk.write("a.yaml", document("a"))
        return listing

    monkeypatch.setattr(specfiles, "walk", slow)
    desk.scan(after=1)
    assert isinstance(desk.wanted(), Present)


def test_a_file_that_a_walk_missed_though_it_is_there_is_not_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write("a.yaml", document("a"))
    monkeypatch.setattr(specfiles, "walk", lambda *request: Listing())
    assert desk.scan(after=1).names == frozenset()
    assert isinstance(desk.wanted(source="a.yaml"), Present)


def test_absence_counts_from_when_it_was_seen_however_long_the_scan_took(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write("a.yaml", document("a"))
    (desk.volume.specs / "a.yaml").unlink()
    during_the_look(monkeypatch, lambda: setattr(desk, "now", desk.now + timedelta(seconds=600)))
    desk.scan()
    assert desk.wanted(source="a.yaml") == Absent(since=desk.now)


def test_a_look_is_overtaken_by_any_other(desk: Desk) -> None:
    desk.write("a.yaml", document("a"))
    file = desk.store.files["a.yaml"]
    assert Before(file).is_still(Before(file))
    assert not Before(file).is_still(Before())
