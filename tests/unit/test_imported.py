"""Jobs of the old system: told as they ended, as far as that can be known; their containers are never touched."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from opeva_operator.engine import EngineUnreachable
from opeva_operator.imported import COPY, Importer, keep_copy
from opeva_operator.testing import FakeClock, FakeEngine
from opeva_specs.status import JobStatus
from opeva_specs.store import Damaged
from opeva_specs.volume import SharedVolume


class Old:
    """A volume with a registry of the old system, and an engine with its containers."""

    def __init__(self, root: Path) -> None:
        self.volume = SharedVolume(root)
        self.volume.make_folders()
        self.clock = FakeClock()
        self.engine = FakeEngine("v", self.clock)
        self.told: dict[str, JobStatus] = {}
        self.importer: Importer | None = None

    def registry(self, rows: Any) -> None:
        data = rows if isinstance(rows, str) else json.dumps(rows)
        (self.volume.root / "job_track.json").write_text(data)
        keep_copy(self.volume)

    def step(self) -> dict[str, str]:
        if self.importer is None:
            self.importer = Importer(self.volume, self.engine, self.clock)
        for status in self.importer.step(self.told.get):
            self.told[status.metadata.name] = status
        return {name: f"{one.status.phase} {one.status.reason}" for name, one in sorted(self.told.items())}

    def container(self, container_id: str, state: str = "running", exit_code: int | None = None) -> None:
        box = self.engine.host.boxes.pop(self.engine.plant(f"sim_{container_id}", state))
        self.engine.host.boxes[container_id] = box
        started = self.clock() - timedelta(hours=1)
        ended = {"finished_at": self.clock(), "exit_code": exit_code} if exit_code is not None else {}
        box.seen = replace(box.seen, started_at=started, **ended)  # type: ignore[arg-type]


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path / "data")


def test_both_shapes_of_the_registry_are_understood(old: Old) -> None:
    old.container("abc1", "exited", 0)
    old.container("abc2", "exited", 3)
    old.registry({"one": "abc1", "two": {"container_id": "abc2", "job_name": "e-r", "target_host": "gpu"}})
    assert old.step() == {"one": "Finished Completed", "two": "Failed ExitNonZero"}
    info = old.told["two"].status.job_info
    assert (info["job_name"], info["target_host"]) == ("e-r", "gpu")
    assert old.told["two"].status.attempts[0].exit_code == 3


def test_a_running_one_is_followed_until_its_end(old: Old) -> None:
    old.container("abc1")
    old.registry({"one": "abc1"})
    assert old.step() == {"one": "Running Running"}
    assert old.told["one"].status.imported
    old.engine.host.boxes.clear()
    old.container("abc1", "exited", 0)
    assert old.step() == {"one": "Finished Completed"}
    before = old.told["one"]
    old.clock.advance(60)
    old.engine.host.boxes.clear()
    assert old.step() == {"one": "Finished Completed"}
    assert old.told["one"] == before


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        pytest.param("abc9", "Failed PreviousRunUnknown", id="gone, nothing known"),
        pytest.param({"container_id": "abc9", "status": "finished"}, "Finished Completed", id="gone, finished"),
        pytest.param({"container_id": "abc9", "status": "Failed"}, "Failed ExitNonZero", id="gone, failed"),
        pytest.param({"container_id": "abc9", "status": "stopped"}, "Stopped StoppedByUser", id="gone, stopped"),
        pytest.param({"container_id": "abc9", "status": "canceled"}, "Canceled StoppedByUser", id="gone, canceled"),
        pytest.param({"container_id": "abc9", "status": "running"}, "Failed PreviousRunUnknown", id="gone, running"),
        pytest.param({}, "Failed PreviousRunUnknown", id="no container"),
        pytest.param(None, "Failed PreviousRunUnknown", id="null"),
        pytest.param({"container_id": 7, "status": ["x"]}, "Failed PreviousRunUnknown", id="wrong types"),
        pytest.param({"container_id": "../../etc"}, "Failed PreviousRunUnknown", id="a path for an id"),
    ],
)
def test_what_is_gone_is_told_as_it_was_recorded_and_no_better(old: Old, facts: Any, words: str) -> None:
    old.registry({"one": facts})
    assert old.step() == {"one": words}


def test_what_is_gone_and_was_finished_is_not_told_as_failed_anywhere(old: Old) -> None:
    old.registry({"one": {"container_id": "abc9", "status": "finished"}})
    old.step()
    assert {g.phase for g in old.told["one"].status.generations} == {"Finished"}
    assert [c.status for c in old.told["one"].status.conditions if c.type == "Complete"] == ["True"]


def test_an_engine_that_does_not_answer_is_asked_again(old: Old) -> None:
    old.container("abc1", "exited", 0)
    old.registry({"one": "abc1"})
    old.engine.fail("by_id", EngineUnreachable("no answer"))
    assert old.step() == {}
    assert old.step() == {"one": "Finished Completed"}


@pytest.mark.parametrize("name", ["../x", "..", "", "A", "a/b", "a b", "x" * 64, "-a", ".hidden"])
def test_a_hostile_id_is_left_out_and_the_others_come(old: Old, name: str) -> None:
    old.registry({name: "abc9", "good": "abc9"})
    assert list(old.step()) == ["good"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x00"])
def test_a_registry_that_cannot_be_read_stops_nothing(old: Old, text: str) -> None:
    old.registry(text)
    assert old.step() == {}


def test_without_a_registry_there_is_nothing_to_import(old: Old) -> None:
    keep_copy(old.volume)
    assert old.step() == {}
    assert not (old.volume.root / COPY).exists()


def test_the_containers_are_looked_at_and_never_touched(old: Old) -> None:
    old.container("abc1")
    old.container("abc2", "exited", 1)
    old.registry({"one": "abc1", "two": "abc2"})
    for _ in range(3):
        old.step()
    assert {call[0] for call in old.engine.calls} == {"by_id"}
    assert len(old.engine.host.boxes) == 2


def test_a_status_that_is_damaged_holds_up_no_other(old: Old) -> None:
    old.registry({"bad": "abc9", "good": "abc9"})
    old.importer = Importer(old.volume, old.engine, old.clock)

    def before(name: str) -> JobStatus | None:
        if name == "bad":
            raise Damaged("cannot read it")
        return None

    assert [status.metadata.name for status in old.importer.step(before)] == ["good"]


def test_a_running_one_is_told_once_and_not_at_every_look(old: Old) -> None:
    old.container("abc1")
    old.registry({"one": "abc1"})
    old.step()
    assert old.importer is not None
    old.clock.advance(30)
    assert old.importer.step(old.told.get) == []
