"""Pulls by a real Docker engine from a registry of our own: each kind of failure, credentials, deadlines."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.machines import Bench, DockerMachine
from tests.contract.registry import Registry

from opeva_operator.engine import PullFailed

pytestmark = pytest.mark.docker


@pytest.fixture
def registry(docker_bench: Bench) -> Registry:
    """The registry whose images are removed at the end of the test."""
    assert isinstance(docker_bench.machine, DockerMachine)
    return docker_bench.machine.registry


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Docker config file of the test's own, empty at first."""
    folder = tmp_path / "docker-config"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    yield folder / "config.json"


def _log_in(config: Path, registry: str, password: str) -> None:
    secret = base64.b64encode(f"someone:{password}".encode()).decode()
    config.write_text(json.dumps({"auths": {registry: {"auth": secret}}}), encoding="utf-8")


def _failure(bench: Bench, image: str, timeout_seconds: float = 20) -> PullFailed:
    with pytest.raises(PullFailed) as failed:
        bench.engine.pull(image, timeout_seconds)
    assert image in str(failed.value)
    return failed.value


def test_a_pulled_image_is_recorded_by_its_digest(docker_bench: Bench, registry: Registry) -> None:
    digest = registry.publish("team/job:1")
    docker_bench.engine.pull(f"{registry.name}/team/job:1", 20)
    assert docker_bench.engine.image_digest(f"{registry.name}/team/job:1") == f"{registry.name}/team/job@{digest}"


def test_a_reference_without_a_tag_pulls_latest_and_nothing_else(docker_bench: Bench, registry: Registry) -> None:
    registry.publish("team/job:latest")
    registry.publish("team/job:other")
    docker_bench.engine.pull(f"{registry.name}/team/job", 20)
    assert docker_bench.engine.image_digest(f"{registry.name}/team/job:latest") is not None
    assert docker_bench.engine.image_digest(f"{registry.name}/team/job:other") is None
    assert not any("tags/list" in path for path in registry.asked)


def test_a_reference_by_digest_pulls_just_that(docker_bench: Bench, registry: Registry) -> None:
    image = f"{registry.name}/team/job@{registry.publish('team/job:1')}"
    docker_bench.engine.pull(image, 20)
    assert docker_bench.engine.image_digest(image) == image


def test_a_missing_tag_is_not_found(docker_bench: Bench, registry: Registry) -> None:
    registry.publish("team/job:1")
    assert _failure(docker_bench, f"{registry.name}/team/job:2").kind == "not found"


@pytest.mark.parametrize("image", ["Upper/Case:1", "team//job", "team/job:bad/tag"])
def test_what_is_no_image_reference_is_not_found(docker_bench: Bench, image: str) -> None:
    assert _failure(docker_bench, image).kind == "not found"


def test_a_closed_port_is_unreachable(docker_bench: Bench) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        failure = _failure(docker_bench, f"127.0.0.1:{closed.getsockname()[1]}/team/job:1")
    assert failure.kind == "unreachable"
    assert "connection refused" in str(failure)


def test_an_unknown_registry_is_unreachable(docker_bench: Bench) -> None:
    assert _failure(docker_bench, "registry.invalid/team/job:1").kind == "unreachable"


def test_a_registry_that_wants_a_password_gets_it_from_the_docker_config(
    docker_bench: Bench, registry: Registry, docker_config: Path
) -> None:
    registry.password = "right"
    registry.publish("team/job:1")
    image = f"{registry.name}/team/job:1"
    assert _failure(docker_bench, image).kind == "unauthorised"
    _log_in(docker_config, registry.name, "wrong")
    assert _failure(docker_bench, image).kind == "unauthorised"
    _log_in(docker_config, registry.name, "right")
    docker_bench.engine.pull(image, 20)
    assert docker_bench.engine.image_digest(image) is not None


@pytest.mark.filterwarnings("ignore:docker-credential-opeva-test-missing")
def test_a_broken_docker_config_is_told(docker_bench: Bench, registry: Registry, docker_config: Path) -> None:
    docker_config.write_text(json.dumps({"credsStore": "opeva-test-missing"}), encoding="utf-8")
    failure = _failure(docker_bench, f"{registry.name}/team/job:1")
    assert failure.kind == "unauthorised"
    assert "opeva-test-missing" in str(failure)


def test_a_slow_registry_meets_the_deadline_and_others_are_not_held_up(docker_bench: Bench, registry: Registry) -> None:
    registry.publish("team/job:1")
    image = f"{registry.name}/team/job:1"
    with registry.slow():
        began = time.monotonic()
        assert _failure(docker_bench, image, timeout_seconds=1.5).kind == "unreachable"
        assert time.monotonic() - began < 4
        docker_bench.engine.ping()
    assert docker_bench.engine.image_digest(image) is None
    docker_bench.engine.pull(image, 20)
    assert docker_bench.engine.image_digest(image) is not None


def test_a_deadline_holds_although_an_older_image_is_here(docker_bench: Bench, registry: Registry) -> None:
    image = f"{registry.name}/team/job:1"
    registry.publish("team/job:1")
    docker_bench.engine.pull(image, 20)
    registry.publish("team/job:2")
    registry.manifests["team/job/manifests/1"] = registry.manifests["team/job/manifests/2"]
    with registry.slow():
        assert _failure(docker_bench, image, timeout_seconds=1.5).kind == "unreachable"
