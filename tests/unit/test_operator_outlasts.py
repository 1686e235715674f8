"""What the operator must outlast: restarts in the middle, streams that end at once, answers meant for others."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from tests.unit.mortal import Crash
from tests.unit.simulation import Simulation

from opeva_operator.engine import ContainerSpec, EngineEvent, EventStream
from opeva_operator.enginewatch import EngineWatch
from opeva_operator.main import OneLine
from opeva_operator.pulls import Missed
from opeva_specs.status import JobStatus


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    """A volume, an engine, an operator."""
    return Simulation(tmp_path)


def test_deletions_that_wait_for_a_person_still_wait_after_a_restart(s: Simulation) -> None:
    for name in "abcd":
        s.drop(name)
    s.run()
    for name in "abcd":
        s.remove(f"{name}.yaml")
    s.run()
    s.wish("a", "stop")
    s.run()
    s.restart()
    s.wait(40)
    assert [s.phase(name) for name in "bcd"] == ["Running Running"] * 3
    (s.volume.control / "confirm-deletions").touch()
    s.tell(s.volume.control / "confirm-deletions")
    s.wait(40)
    assert [s.phase(name) for name in "bcd"] == ["Stopped SpecDeleted"] * 3


@pytest.mark.parametrize("step", [None, *range(1, 12)])
def test_deletions_that_were_confirmed_are_so_after_a_restart_and_those_of_later_are_not(
    s: Simulation, step: int | None
) -> None:
    s.restart(max_concurrent_jobs=8)
    for name in "abcd":
        s.drop(name)
    s.run()
    for name in "abcd":
        s.remove(f"{name}.yaml")
    s.run()
    (s.volume.control / "confirm-deletions").touch()
    if step is not None:
        s.crash_at(step)
    s.tell(s.volume.control / "confirm-deletions")
    s.wait(2)
    s.restart()
    assert not (s.volume.control / "confirm-deletions").exists()
    s.wait(40)
    assert [s.phase(name) for name in "abcd"] == ["Stopped SpecDeleted"] * 4
    assert not (s.volume.root / "state" / "confirmed-deletions.json").exists()
    for name in "efgh":
        s.drop(name)
    s.run()
    for name in "efgh":
        s.remove(f"{name}.yaml")
    s.wait(40)
    assert s.operator._specs.held == frozenset("efgh")


@pytest.mark.parametrize("garbage", ["", "[]", "{}", '{"jobs": 7}'])
def test_a_record_of_confirmations_that_makes_no_sense_confirms_nothing(s: Simulation, garbage: str) -> None:
    (s.volume.root / "state" / "confirmed-deletions.json").write_text(garbage)
    s.restart()
    assert s.operator._specs._confirmed == frozenset()


def test_an_image_that_another_job_could_not_get_may_be_here_by_now(tmp_path: Path) -> None:
    s = Simulation(tmp_path, max_concurrent_jobs=1)
    s.drop("busy")
    s.drop("early", image="late:1")
    s.run()
    assert s.phase("early") == "Queued AtCapacity"
    s.clock.advance(1)
    pulls = s.operator._hosts.local.pulls
    pulls.want("late:1", "another")
    s.run()
    assert isinstance(pulls.result("late:1"), Missed)
    s.engine.have_image("late:1")
    s.finish("busy")
    s.run()
    assert s.is_live("early")


def test_a_wish_is_as_durable_in_the_status_as_it_was_in_its_file(
    s: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    s.drop("a")
    s.run()
    kept: list[bool] = []
    write = s.operator._reconciler._parts.statuses.write

    def noted(status: JobStatus, *, durable: bool) -> None:
        kept.append(durable)
        write(status, durable=durable)

    monkeypatch.setattr(s.operator._reconciler._parts.statuses, "write", noted)
    s.wish("a", "stop")
    s.run()
    assert kept[0]


def test_events_that_end_at_once_or_make_no_sense_are_asked_for_with_a_pause(s: Simulation) -> None:
    engine, stopping = s.engine, threading.Event()
    asked: list[int] = []

    def events() -> EventStream:
        asked.append(1)
        if len(asked) % 2:
            raise ValueError("no JSON")
        return EndedStream()

    engine.events = events  # type: ignore[method-assign]
    watch = EngineWatch(s.operator._hosts.local, s.operator._roster, lambda name: None, stopping)
    thread = threading.Thread(target=watch.listen, daemon=True)
    thread.start()
    thread.join(2.5)
    assert thread.is_alive()
    stopping.set()
    thread.join(2)
    assert not thread.is_alive()
    assert 2 <= len(asked) <= 4


class EndedStream:
    """A stream of events that is over before it began."""

    def __iter__(self) -> Iterator[EngineEvent]:
        return iter(())

    def close(self) -> None: ...


def test_a_wish_to_rerun_waits_while_the_file_cannot_be_accepted(s: Simulation) -> None:
    s.drop("a")
    s.run()
    s.finish("a")
    s.run()
    s.write("a.yaml", "kind: mistake\n")
    s.run()
    s.wish("a", "rerun")
    s.run()
    assert s.phase("a") == "Finished Completed"
    s.drop("a")
    s.run()
    assert (s.is_live("a"), s.status("a").metadata.generation) == (True, 2)


def test_a_job_whose_file_went_before_its_container_was_made_is_not_started(s: Simulation) -> None:
    create = s.engine.create

    def die(wanted: ContainerSpec) -> str:
        s.engine.create = create  # type: ignore[method-assign]
        (s.volume.specs / "a.yaml").unlink()
        raise Crash

    s.engine.create = die  # type: ignore[method-assign]
    s.drop("a")
    s.run()
    s.wait(20)
    assert s.phase("a") == "Canceled SpecDeleted"
    assert s.engine.history == []


def test_a_run_whose_status_was_lost_at_its_start_is_not_started_again_once_the_engine_is_back(s: Simulation) -> None:
    s.drop("a")
    s.run()
    (s.volume.status / "a.json").unlink()
    events = s.volume.root / "state" / "jobs" / "a" / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(line for line in lines if orjson.loads(line)["reason"] != "Running"))
    s.engine.host.boxes.clear()
    s.engine.is_reachable = False
    s.restart()
    s.run()
    s.engine.is_reachable = True
    s.wait(20)
    assert s.phase("a") == "Failed PreviousRunUnknown"
    assert s.engine.history == [("a", 1, 1)]


def test_a_message_forges_no_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "job %s: %s", ("a", "stop\n2026 INFO forged \x1b[31m"), None)
    line = OneLine("%(levelname)s %(message)s").format(record)
    assert line == r"INFO job a: stop\n2026 INFO forged \x1b[31m"


def test_a_lost_status_keeps_nobody_busy_while_the_engine_is_away(s: Simulation) -> None:
    s.engine.is_reachable = False
    s.wait(10)
    s.drop("a")
    s.run()
    (s.volume.status / "a.json").unlink()
    s.restart()
    take, looks = s.operator._queue.get, []

    def counted() -> str | None:
        looks.append(1)
        return take() if len(looks) < 100 else None

    s.operator._queue.get = counted  # type: ignore[method-assign, assignment]
    s.run()
    assert len(looks) < 20
    s.engine.is_reachable = True
    s.wait(10)
    assert s.is_live("a")
