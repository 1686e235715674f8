"""The real simulator by every way in, and the demo that newcomers see."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.e2e.harness import INSTANCE, eventually
from tests.e2e.service import ENDED, SIMULATOR, Service, config, service_on

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
GRACE = 3

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def service(network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the example configs on its volume."""
    made = subprocess.run(
        ["sh", str(ROOT / "tests/images/make_images.sh"), "citylearn"], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    with service_on(tmp_path_factory.mktemp("citylearn"), network) as found:
        for example in (EXAMPLES / "configs").glob("*.yaml"):
            shutil.copy(example, found.site.root / "configs")
        yield found


def by_file(service: Service) -> str:
    """The example spec, renamed into place."""
    service.site.put("specs/minimal.yaml", (EXAMPLES / "specs/minimal.yaml").read_text())
    return "minimal"


def by_inline_config(service: Service) -> str:
    """A request that brings its config along."""
    return service.submit(config=config("inline"))


def by_config_path(service: Service) -> str:
    """A request that names a config on the volume."""
    return service.submit(config_path="rbc-quick.yaml")


def drop(service: Service, name: str, settings: dict[str, Any]) -> None:
    """A spec file with this config and a short grace."""
    spec = {"image": SIMULATOR, "config": settings, "terminationGracePeriodSeconds": GRACE}
    job = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": name}, "spec": spec}
    service.site.drop(f"{name}.yaml", job)


@pytest.mark.parametrize("submit", [by_file, by_inline_config, by_config_path])
def test_a_simulation_runs_whichever_way_it_comes(service: Service, submit: Any) -> None:
    job = submit(service)
    assert service.until_ended(job) == "finished", service.log(job)
    result = service.told(f"/result/{job}")
    figures = [value for costs in result.values() for value in costs.values() if value is not None]
    assert len(result) == 6, "the district and its five homes"
    assert figures
    assert all(isinstance(value, int | float) for value in figures)
    assert result["District"]["cost"] > 0
    assert service.percent(job) == 100
    answer = service.client.get(f"/logs/{job}")
    assert answer.headers["X-Opeva-Log-Source"] == f"logs/{job}.log"
    assert "BasicRBC controls 5 buildings" in answer.text
    assert "finished: key figures" in answer.text
    info = service.told(f"/job-info/{job}")
    assert (info["exit_code"], info["image"]) == (0, SIMULATOR)
    assert service.site.containers(job) == []


def test_progress_grows_and_is_complete_at_the_end_only(service: Service) -> None:
    job = service.submit(config=config("watched", steps=300, delay=0.02))
    seen: list[float] = []
    deadline = time.monotonic() + 90
    while True:
        percent = service.percent(job)
        # Asked for afterwards: had the job ended in between, its word would tell.
        if service.word(job) in ENDED:
            break
        seen.append(percent)
        assert time.monotonic() < deadline, service.log(job)
        time.sleep(0.1)
    assert service.word(job) == "finished", service.log(job)
    assert seen == sorted(seen)
    assert len(set(seen)) > 5, seen
    assert seen[-1] < 100
    assert service.percent(job) == 100


def test_a_stop_is_heard_within_its_grace(service: Service) -> None:
    drop(service, "slow", config("slow", delay=5.0))
    service.until("slow", "running")
    eventually(lambda: "controls" in service.log("slow"), "it simulates", within=60)
    asked = time.monotonic()
    assert service.client.post("/stop/slow").status_code == 200
    assert service.until_ended("slow") == "stopped"
    assert time.monotonic() - asked < GRACE + 2
    result = service.told("/result/slow")
    assert result["status"] == "stopped"
    assert result["message"].startswith("no result: the job is stopped (StoppedByUser)")
    assert "stopped by SIGTERM" in service.log("slow")
    assert service.percent("slow") < 100


def test_a_bad_config_fails_in_the_simulators_own_words(service: Service) -> None:
    job = service.submit(config={**config("bad"), "algorithm": {"name": "Clairvoyant"}})
    assert service.until_ended(job) == "failed"
    told = service.told(f"/status/{job}")
    assert (told["reason"], told["exit_code"]) == ("ExitNonZero", 1)
    for sentence in (told["message"], service.told(f"/job-info/{job}")["error"], service.log(job)):
        assert "cannot use 'Clairvoyant' as algorithm.name" in sentence
    assert service.site.containers(job) == []


def test_the_demo_runs_through_and_leaves_no_container(network: str, service: Service, tmp_path: Path) -> None:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPEVA_")}
    environ = inherited | {"TMPDIR": str(tmp_path), "OPEVA_DOCKER_NETWORK": network}
    demo = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")], env=environ, capture_output=True, text=True, timeout=200
    )
    (volume,) = tmp_path.glob("opeva-demo-*")
    said = demo.stdout + demo.stderr + (volume / "services.log").read_text()
    assert demo.returncode == 0, said
    for job in ("minimal", *(path.stem for path in (volume / "status").glob("*.json"))):
        assert (volume / f"jobs/{job}/results/result.json").is_file()
        assert job in demo.stdout
    instance = json.loads((volume / "state/instance.json").read_text())["id"]
    client = docker.from_env()
    assert client.containers.list(all=True, filters={"label": f"{INSTANCE}={instance}"}) == []
    client.close()
