"""What the fake offers beyond an engine: time, scripts, faults, gates, restarts."""

import threading
from dataclasses import replace

import pytest

from opeva_operator.engine import ContainerSpec, EngineUnreachable, ImageMissing
from opeva_operator.testing import FakeClock, FakeEngine, FakeRun

SPEC = ContainerSpec(
    name="opeva-one",
    job="one",
    generation=1,
    attempt=1,
    digest="",
    image="busybox",
    command=None,
    args=(),
    env={},
    network="none",
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> FakeEngine:
    engine = FakeEngine("volume", clock)
    engine.have_image("busybox")
    return engine


def test_a_run_ends_when_its_time_is_over_and_not_before(engine: FakeEngine, clock: FakeClock) -> None:
    engine.runs["one"] = FakeRun(run_for=60, exit_code=3)
    engine.start(engine.create(SPEC))
    clock.advance(59)
    found = engine.find("opeva-one")
    assert found is not None and found.is_live
    clock.advance(100)
    found = engine.find("opeva-one")
    assert found is not None and found.has_ended
    assert found.started_at is not None and found.finished_at is not None
    assert (found.exit_code, (found.finished_at - found.started_at).total_seconds()) == (3, 60)


def test_a_run_may_be_scripted_by_image(engine: FakeEngine) -> None:
    engine.runs["busybox"] = FakeRun(run_for=0, exit_code=4)
    engine.start(engine.create(SPEC))
    found = engine.find("opeva-one")
    assert found is not None and found.exit_code == 4


def test_a_run_may_be_ended_by_hand(engine: FakeEngine) -> None:
    engine.start(engine.create(SPEC))
    engine.say("one", b"bye\n")
    engine.finish("one", 137, oom=True)
    found = engine.find("opeva-one")
    assert found is not None and (found.exit_code, found.oom_killed) == (137, True)
    assert [entry.data for entry in engine.logs(found.id, None, follow=True)] == [b"bye\n"]
    with pytest.raises(LookupError, match="'one'"):
        engine.finish("one")


def test_a_fault_comes_as_often_as_wanted_and_nothing_happens(engine: FakeEngine) -> None:
    engine.fail("create", EngineUnreachable("no answer"), times=2)
    for _ in range(2):
        with pytest.raises(EngineUnreachable, match="no answer"):
            engine.create(SPEC)
        assert engine.find("opeva-one") is None
    assert engine.create(SPEC)


def test_a_lost_reply_happened(engine: FakeEngine) -> None:
    engine.fail("create", EngineUnreachable("no answer"), lose_reply=True)
    with pytest.raises(EngineUnreachable):
        engine.create(SPEC)
    assert engine.find("opeva-one") is not None


def test_a_refusal_is_not_hidden_by_a_lost_reply(engine: FakeEngine) -> None:
    engine.fail("create", EngineUnreachable("no answer"), lose_reply=True)
    with pytest.raises(ImageMissing):
        engine.create(replace(SPEC, image="missing"))


def test_a_gate_holds_one_method_and_no_other(engine: FakeEngine) -> None:
    engine.host.registry["other:latest"] = "sha256:other"
    gate = engine.hold("pull")
    puller = threading.Thread(target=engine.pull, args=("other", 60.0))
    puller.start()
    assert engine.image_digest("other") is None
    gate.set()
    puller.join(10)
    assert engine.image_digest("other") == "sha256:other"


@pytest.mark.parametrize(("ignores_term", "code"), [(False, 143), (True, 137)])
def test_a_restart_ends_what_runs_and_leaves_evidence(engine: FakeEngine, ignores_term: bool, code: int) -> None:
    engine.runs["one"] = FakeRun(ignores_term=ignores_term)
    container_id = engine.create(SPEC)
    engine.start(container_id)
    log, events = engine.logs(container_id, None, follow=True), engine.events()
    engine.restart()
    found = engine.find("opeva-one")
    assert found is not None and found.exit_code == code
    assert engine.restarted_since_start(found)
    assert list(log) == []
    assert [event.action for event in events] == ["die"]


def test_it_remembers_calls_starts_and_what_was_wanted(engine: FakeEngine) -> None:
    container_id = engine.create(SPEC)
    engine.start(container_id)
    assert engine.calls == [("create", "opeva-one"), ("start", container_id)]
    assert engine.starts == ["one"]
    assert engine.wanted("one") == SPEC
