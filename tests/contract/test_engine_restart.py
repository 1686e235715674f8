"""Evidence that the engine itself was restarted, on engines that are really killed and started again."""

import signal
import time
from collections.abc import Iterator

import pytest
from tests.contract.machines import Bench
from tests.contract.private_engine import PrivateEngine

from opeva_operator import docker_engine
from opeva_operator.docker_engine import DockerEngine
from opeva_operator.engine import Container, ContainerSpec, EngineUnreachable

pytestmark = pytest.mark.docker


# Without its bridge the engine has no network that tells when it started: the evidence is another one then.
@pytest.fixture(params=[pytest.param((), id="usual"), pytest.param(("--bridge=none",), id="no bridge")])
def daemon(request: pytest.FixtureRequest, busybox: str) -> Iterator[PrivateEngine]:
    private = PrivateEngine(*request.param)
    try:
        private.start()
        private.load(busybox)
        yield private
    finally:
        private.close()


def _sleeper(engine: DockerEngine, image: str, job: str) -> str:
    container_id = engine.create(
        ContainerSpec(
            name=f"opeva-{job}",
            job=job,
            generation=1,
            attempt=1,
            digest="",
            image=image,
            command=("sleep", "600"),
            args=(),
            env={},
            network="none",
        )
    )
    engine.start(container_id)
    return container_id


def _found(engine: DockerEngine, job: str) -> Container:
    found = engine.find(f"opeva-{job}")
    assert found is not None
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_restart_is_told_from_a_kill(daemon: PrivateEngine, busybox: str, how: signal.Signals) -> None:
    engine = DockerEngine("private", docker_host=daemon.host, timeout_seconds=20)
    _sleeper(engine, busybox, "runs")
    engine.signal(_sleeper(engine, busybox, "killed"), "SIGKILL")
    Bench.eventually(lambda: _found(engine, "killed").exit_code == 137)
    assert not engine.restarted_since_start(_found(engine, "killed"))
    assert not engine.restarted_since_start(_found(engine, "runs"))

    log = engine.logs(_found(engine, "runs").id, None, follow=True)
    events = engine.events()
    daemon.stop(how)
    assert list(log) == []
    assert {event.job for event in events} <= {"runs"}
    with pytest.raises(EngineUnreachable):
        engine.list()

    daemon.start()
    Bench.eventually(lambda: _found(engine, "runs").has_ended)
    assert engine.restarted_since_start(_found(engine, "runs"))
    engine.signal(_sleeper(engine, busybox, "later"), "SIGKILL")
    Bench.eventually(lambda: _found(engine, "later").exit_code == 137)
    assert not engine.restarted_since_start(_found(engine, "later"))
    engine.close()


@pytest.mark.parametrize("daemon", [("--bridge=none",)], indirect=True)
def test_a_frozen_engine_is_unreachable_within_the_time_limit_and_nothing_is_lost(
    daemon: PrivateEngine, busybox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_engine, "SILENCE_SECONDS", 0.5)
    engine = DockerEngine("private", docker_host=daemon.host, timeout_seconds=1)
    container_id = _sleeper(engine, busybox, "runs")
    events = engine.events()
    daemon.send(signal.SIGSTOP)
    try:
        for call in (engine.list, engine.ping, lambda: engine.find("opeva-runs"), engine.events):
            began = time.monotonic()
            with pytest.raises(EngineUnreachable):
                call()
            assert time.monotonic() - began < 3
        with pytest.raises(EngineUnreachable):
            engine.logs(container_id, None, follow=True)
        assert list(events) == []  # silence ends the stream
    finally:
        daemon.send(signal.SIGCONT)
    Bench.eventually(lambda: _answers(engine))
    assert _found(engine, "runs").is_live
    engine.close()


def _answers(engine: DockerEngine) -> bool:
    try:
        engine.ping()
    except EngineUnreachable:
        return False
    return True
