"""What the operator must outlast: restarts in the middle, streams that end at once, answers meant for others."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.simulation import Simulation

from opeva_operator.engine import EngineEvent, EventStream
from opeva_operator.enginewatch import EngineWatch
from opeva_operator.pulls import Missed
from opeva_operator.testing import FakeEngine
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


def test_an_image_that_another_job_could_not_get_may_be_here_by_now(tmp_path: Path) -> None:
    s = Simulation(tmp_path, max_concurrent_jobs=1)
    s.drop("busy")
    s.drop("early", image="late:1")
    s.run()
    assert s.phase("early") == "Queued AtCapacity"
    s.clock.advance(1)
    pulls = s.operator._reconciler._parts.gatekeeper._pulls
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
    engine, stopping = FakeEngine(), threading.Event()
    asked: list[int] = []

    def events() -> EventStream:
        asked.append(1)
        if len(asked) % 2:
            raise ValueError("no JSON")
        return EndedStream()

    engine.events = events  # type: ignore[method-assign]
    watch = EngineWatch(engine, s.operator._reconciler, s.operator._roster, lambda name: None, stopping)
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
