"""What once went wrong, found by reading: each test tells what must hold instead."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.simulation import IMAGE, Simulation, document

from opeva_operator import local
from opeva_operator.engine import Container, EngineUnreachable
from opeva_operator.founding import hand_over
from opeva_operator.local import Operator
from opeva_operator.lock import heartbeat_age
from opeva_operator.testing import FakeEngine, FakeRun
from opeva_operator.workqueue import WorkQueue
from opeva_specs.hostsfile import HostEntry
from opeva_specs.settings import Settings
from opeva_specs.status import JobStatus, Wish
from opeva_specs.volume import SharedVolume


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    """A volume, an engine, an operator."""
    return Simulation(tmp_path)


def test_an_edit_taken_back_while_the_old_run_is_being_stopped_runs_it_again(s: Simulation) -> None:
    s.engine.runs["a"] = FakeRun(ignores_term=True)
    s.drop("a", args=["one"])
    s.run()
    s.drop("a", args=["two"])
    s.run()
    s.wait(7)
    assert s.phase("a") == "Stopping Superseded"
    s.drop("a", args=["one"])
    s.run()
    s.wait(60)
    assert s.is_live("a")
    assert s.status("a").metadata.generation == 2


def test_what_a_person_deleted_stays_deleted_even_if_it_ended_for_an_edit(s: Simulation) -> None:
    s.engine.runs["a"] = FakeRun(ignores_term=True)
    s.drop("a", args=["one"])
    s.run()
    s.drop("a", args=["two"])
    s.run()
    s.wait(7)
    s.wish("a", "delete")
    s.drop("a", args=["one"])
    s.run()
    s.wait(60)
    assert not s.is_live("a")
    assert s.status("a").status.hidden


def test_a_timer_is_kept_while_another_name_is_held_and_wanted_again() -> None:
    queue = WorkQueue()
    queue.add("slow")
    assert queue.get() == "slow"
    queue.add("slow")
    queue.add("timer", 0.1)
    got: list[str | None] = []
    worker = threading.Thread(target=lambda: got.append(queue.get()), daemon=True)
    worker.start()
    worker.join(2)
    assert got == ["timer"]


@pytest.fixture
def living(tmp_path: Path) -> Iterator[tuple[Operator, FakeEngine]]:
    """An operator with all its threads, on a fake engine."""
    engine = FakeEngine()
    engine.have_image(IMAGE)

    def connect(instance: str, at: HostEntry) -> FakeEngine:
        engine.instance = instance
        return engine

    settings = Settings(
        shared_data=tmp_path, default_image=IMAGE, min_free_bytes=0, resync_seconds=0.5, max_concurrent_jobs=20
    )
    operator = Operator(settings, connect)
    assert operator.start()
    yield operator, engine
    operator.stop()


def eventually(is_true: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not is_true() and time.monotonic() < end:
        time.sleep(0.02)
    return is_true()


def test_an_operator_that_was_replaced_stops_and_tells_no_more_that_it_lives(
    s: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "HEARTBEAT_EVERY", 0.01)
    s.operator._lock.release()  # as on a file system without locks
    beating = threading.Thread(target=s.operator._beat, daemon=True)
    beating.start()
    beat = s.volume.root / "state" / "operator.json"
    assert eventually(beat.exists)
    s.operator.stop_soon()
    beating.join(10)
    s.operator._stopping.clear()
    s.clock.advance(1)
    beat.unlink()
    (s.volume.root / "state" / "operator.claim").write_text('{"name": "another", "at": "2026-01-01T00:00:00+00:00"}')
    s.operator._beat()
    assert s.operator._stopping.is_set()
    assert not beat.exists()


def test_a_checkout_of_many_files_needs_no_thread_for_each(living: tuple[Operator, FakeEngine], tmp_path: Path) -> None:
    (tmp_path / "specs" / ".git").mkdir()
    (tmp_path / "specs" / ".git" / "index.lock").touch()
    before = threading.active_count()
    most = before
    for number in range(300):
        (tmp_path / "specs" / f"job-{number}.yaml").write_text(document(f"job-{number}"))
        most = max(most, threading.active_count())
    assert most < before + 20


def test_the_heartbeat_goes_on_while_the_engine_does_not_answer(
    living: tuple[Operator, FakeEngine], tmp_path: Path
) -> None:
    volume = SharedVolume(tmp_path)
    gate = living[1].hold("list")
    try:
        assert eventually(lambda: living[1].calls[-1] == ("list",))
        time.sleep(3)
        assert heartbeat_age(volume) < timedelta(seconds=3)
    finally:
        gate.set()


def test_an_operator_that_follows_many_logs_ends_in_time(living: tuple[Operator, FakeEngine], tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / "specs" / f"job-{number}.yaml").write_text(document(f"job-{number}"))
    assert eventually(lambda: sum(t.name.startswith("log-job-") for t in threading.enumerate()) == 12)
    began = time.monotonic()
    living[0].stop()
    assert time.monotonic() - began < 5


def test_a_folder_that_a_job_replaced_by_a_link_is_not_handed_to_the_api(tmp_path: Path) -> None:
    volume = SharedVolume(tmp_path / "volume")
    volume.make_folders()
    victim = tmp_path / "victim"
    victim.mkdir()
    volume.root.joinpath("configs").rmdir()
    volume.root.joinpath("configs").symlink_to(victim)
    hand_over(volume)
    assert victim.stat().st_uid == os.getuid()


def test_a_link_in_the_place_of_the_trash_stops_neither_start_nor_deletion(s: Simulation, tmp_path: Path) -> None:
    s.drop("a", file="api/a.yaml")
    s.run()
    s.finish("a")
    s.run()
    (s.volume.root / ".trash").symlink_to(tmp_path / "elsewhere")
    s.restart()
    s.wish("a", "delete")
    s.run()
    s.wait(3)
    assert s.phase("a") == "-"
    assert not (s.volume.jobs / "a").exists()


def test_a_log_that_the_job_made_huge_is_not_read_into_memory(s: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = os.pread

    def pread(fd: int, size: int, at: int) -> bytes:
        asked.append(size)
        return read(fd, min(size, 2**20), at)

    monkeypatch.setattr(os, "pread", pread)
    s.drop("a")
    s.run()
    log = s.volume.jobs / "a" / "logs" / "container.log"
    log.touch()
    os.truncate(log, 2**40)
    s.engine.say("a", b"hello\n")
    s.finish("a")
    s.run()
    assert s.phase("a") == "Finished Completed"
    assert max(asked) <= 2**20


def test_a_second_stop_that_comes_after_the_end_it_asked_for_is_still_a_stop(s: Simulation) -> None:
    s.drop("a")
    s.run()
    s.wish("a", "stop")
    signal = s.engine.signal

    def stop_again(container_id: str, name: str) -> None:
        signal(container_id, name)
        s.clock.advance(0.1)
        s.controls.write("a", Wish(id="second", wish="stop", by="ann", at=s.clock()))

    s.engine.signal = stop_again  # type: ignore[method-assign]
    s.run()
    assert s.phase("a") == "Stopped StoppedByUser"


def test_held_jobs_that_wait_let_others_pass(tmp_path: Path) -> None:
    s = Simulation(tmp_path, max_concurrent_jobs=1)
    for name in "abcde":
        s.drop(name)
    s.run()
    for name in "abcde":
        s.remove(f"{name}.yaml")
    s.run()
    assert s.phase("b") == "Queued Held"
    s.finish("a")
    s.drop("z")
    s.run()
    assert s.is_live("z")
    for name in "abcde":
        s.drop(name)
    s.finish("z")
    s.run()
    assert s.is_live("b")


def test_a_disk_that_fills_does_not_keep_the_queue_busy(tmp_path: Path) -> None:
    s = Simulation(tmp_path, min_free_bytes=10**12)
    free = iter(range(10**11, 0, -(2**20)))
    object.__setattr__(s.operator._volume, "free_bytes", lambda: next(free))
    for name in "abcd":
        s.drop(name)
    s.run()
    assert next(free) > 10**11 - 50 * 2**20
    assert s.phase("a") == "Queued DiskPressure"


def test_a_place_that_was_taken_when_the_status_could_not_be_written_is_given_back(tmp_path: Path) -> None:
    s = Simulation(tmp_path, max_concurrent_jobs=1)
    s.drop("a", network="shaky")
    s.run()
    parts = s.operator._reconciler._parts
    s.engine.host.networks.add("shaky")
    write = parts.statuses.write

    def full(status: JobStatus, *, durable: bool) -> None:
        raise OSError(errno.ENOSPC, "no room")

    parts.statuses.write = full  # type: ignore[method-assign]
    s.operator._queue.add("a")
    s.run()
    parts.statuses.write = write  # type: ignore[method-assign]
    s.engine.host.networks.discard("shaky")
    parts.gatekeeper.forget_network("local", "shaky")
    s.wait(2)
    assert s.phase("a") == "Queued NetworkMissing"
    s.drop("b")
    s.run()
    assert s.is_live("b")


def test_a_container_that_cannot_be_killed_is_not_signaled_without_a_pause(s: Simulation) -> None:
    sent: list[str] = []
    s.drop("a", terminationGracePeriodSeconds=1)
    s.run()
    s.engine.signal = lambda container_id, signal: sent.append(signal)  # type: ignore[method-assign]
    s.wish("a", "stop")
    s.run()
    s.wait(5)
    assert sent == ["SIGTERM", "SIGKILL", "SIGKILL", "SIGKILL"]


def test_one_container_that_cannot_be_looked_at_keeps_no_worker_busy(s: Simulation) -> None:
    for name in "abcdef":
        s.drop(name)
    s.run()
    find, asked = s.engine.find, []

    def shaky(name: str) -> Container | None:
        asked.append(name)
        if len(asked) > 300:
            s.operator._queue.close()
        if name[-1] in "acf":
            raise EngineUnreachable("server error")
        return find(name)

    s.engine.find = shaky  # type: ignore[method-assign]
    s.operator.resync()
    s.run()
    assert len(asked) < 40


def test_a_frozen_engine_leaves_workers_to_those_who_do_not_need_it(living: tuple[Operator, FakeEngine]) -> None:
    operator, engine = living
    volume = SharedVolume(operator._settings.shared_data)
    for number in range(20):
        (volume.specs / f"job-{number}.yaml").write_text(document(f"job-{number}"))
    assert eventually(lambda: len(engine.starts) == 20)

    def frozen(*_: object, **__: object) -> None:
        time.sleep(1.2)
        raise EngineUnreachable("no answer")

    for call in ("find", "list", "ping", "image_digest"):
        setattr(engine, call, frozen)
    time.sleep(3)
    (volume.specs / "new.yaml").write_text(document("new"))
    assert eventually(lambda: (volume.status / "new.json").exists(), seconds=1)


def test_specs_that_vanish_together_with_the_sentinel_end_nothing(s: Simulation) -> None:
    for name in "abc":
        s.drop(name)
    s.run()
    for name in "abc":
        s.remove(f"{name}.yaml")
    (s.volume.specs / ".opeva").unlink()  # no event tells of it
    s.wait(25)
    assert [s.phase(name) for name in "abc"] == ["Running Running"] * 3
    (s.volume.specs / ".opeva").write_text(s.engine.instance)
    s.wait(60)
    assert [s.phase(name) for name in "abc"] == ["Stopped SpecDeleted"] * 3


def test_a_file_name_that_is_no_text_stops_neither_scan_nor_start(s: Simulation) -> None:
    for text in ("nonsense: 1\n", document("odd")):
        with open(os.fsencode(s.volume.specs) + f"/{len(text)}".encode() + b"\xff.yaml", "w") as file:  # noqa: PTH123
            file.write(text)
    s.drop("a")
    s.wait(31)
    s.restart()
    s.wait(3)
    assert s.phase("a") == "Running Running"
    assert s.phase("odd") == "-"
