"""Runs tracked by a real MLflow server that was started as docker-compose.yml starts it."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import httpx
import pytest
import yaml
from docker.models.containers import Container
from docker.models.networks import Network
from tests.e2e.harness import eventually, job, network_of_session
from tests.e2e.service import Service, config, service_on

ROOT = Path(__file__).parents[2]
IMAGE = "opeva-test/mlflow:latest"
EXPERIMENT = "Grid study / 2026"
TRACKING = "http://mlflow:5000"
NOWHERE = "http://no-such-mlflow:5000"

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Mlflow:
    """A tracking server on a network, and its address outside."""

    network: str
    url: str
    unplugged: Callable[[], AbstractContextManager[None]]

    def get(self, path: str, **query: str) -> Any:
        """What its REST API tells."""
        answer = httpx.get(f"{self.url}/api/2.0/mlflow/{path}", params=query, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def mlflow() -> Iterator[Mlflow]:
    """The server as in docker-compose.yml, under the same name, with one process less to wait for."""
    made = subprocess.run(
        ["sh", str(ROOT / "tests/images/make_images.sh"), "citylearn", "mlflow"], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    described = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["mlflow"]
    hosts = re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", described["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"])
    client = docker.DockerClient(base_url=os.environ.get("DOCKER_HOST"), timeout=60)
    with network_of_session() as network:
        client.networks.create(network)
        server = client.containers.create(
            IMAGE,
            f"{described['command']} --workers 1",
            environment={"MLFLOW_SERVER_ALLOWED_HOSTS": hosts},
            ports={"5000/tcp": ("127.0.0.1", 0)},
            tmpfs={"/mlflow": ""},
            init=True,
        )
        try:
            client.networks.get(network).connect(server, aliases=["mlflow"])
            server.start()
            server.reload()
            url = f"http://127.0.0.1:{server.ports['5000/tcp'][0]['HostPort']}"
            eventually(lambda: is_up(url), "MLflow answers", lambda: server.logs(tail=40).decode(), 120)
            yield Mlflow(network, url, partial(unplugged, client.networks.get(network), server))
        finally:
            server.remove(force=True, v=True)
            client.close()


@contextmanager
def unplugged(network: Network, server: Container) -> Iterator[None]:
    """While this lasts no job reaches the server."""
    network.disconnect(server)
    try:
        yield
    finally:
        network.connect(server, aliases=["mlflow"])


def is_up(url: str) -> bool:
    """Whether the server answers."""
    try:
        return httpx.get(f"{url}/health", trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def service(mlflow: Mlflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose runs are tracked."""
    root = tmp_path_factory.mktemp("tracked")
    settings = {"OPEVA_MLFLOW_TRACKING_URI": TRACKING, "OPEVA_MLFLOW_PUBLIC_URL": mlflow.url}
    with service_on(root, mlflow.network, **settings) as made:
        yield made


@pytest.fixture(scope="module")
def run(service: Service) -> str:
    """The id of a tracked run that has finished."""
    found = service.submit(config=config(EXPERIMENT))
    assert service.until_ended(found) == "finished", service.log(found)
    return found


def listed(service: Service, job_id: str) -> dict[str, Any]:
    """What `/jobs` tells of a job."""
    (found,) = [item for item in service.told("/jobs") if item["job_id"] == job_id]
    return dict(found["job_info"])


def test_the_server_holds_the_finished_run(service: Service, mlflow: Mlflow, run: str) -> None:
    info = service.told(f"/job-info/{run}")
    tracked = mlflow.get("runs/get", run_id=info["mlflow_run_id"])["run"]
    assert (tracked["info"]["status"], tracked["info"]["run_name"]) == ("FINISHED", info["job_name"])
    assert {"key": "job_id", "value": run} in tracked["data"]["params"]
    experiment = mlflow.get("experiments/get", experiment_id=tracked["info"]["experiment_id"])["experiment"]
    assert experiment["name"] == EXPERIMENT


def test_the_server_holds_the_key_figures_of_the_result(service: Service, mlflow: Mlflow, run: str) -> None:
    result = service.told(f"/result/{run}")
    figures = {f"{place}/{name}": value for place, costs in result.items() for name, value in costs.items()}
    tracked = mlflow.get("runs/get", run_id=service.told(f"/job-info/{run}")["mlflow_run_id"])["run"]
    metrics = {metric["key"]: metric["value"] for metric in tracked["data"]["metrics"]}
    assert metrics["District/cost"] > 0
    assert metrics == {name: pytest.approx(value) for name, value in figures.items() if value is not None}


def test_details_and_list_link_to_the_run_by_the_public_address(service: Service, mlflow: Mlflow, run: str) -> None:
    info = service.told(f"/job-info/{run}")
    link = f"{mlflow.url}/#/experiments/{info['mlflow_experiment_id']}/runs/{info['mlflow_run_id']}"
    assert info["mlflow_run_url"] == link
    in_list = listed(service, run)
    assert (in_list["mlflow_run_id"], in_list["mlflow_run_url"]) == (info["mlflow_run_id"], link)
    page = httpx.get(link, trust_env=False, timeout=30)
    assert (page.status_code, urlsplit(link).fragment.split("/")[-1]) == (200, info["mlflow_run_id"])
    assert "text/html" in page.headers["content-type"]


def test_a_running_job_is_linked_already_and_a_stopped_one_is_told_as_killed(service: Service, mlflow: Mlflow) -> None:
    slow = service.submit(config=config(EXPERIMENT, delay=1.0))
    service.until(slow, "running")
    eventually(lambda: "mlflow_run_url" in listed(service, slow), "the run is linked", lambda: service.log(slow), 60)
    run_id = listed(service, slow)["mlflow_run_id"]
    assert mlflow.get("runs/get", run_id=run_id)["run"]["info"]["status"] == "RUNNING"
    assert service.client.post(f"/stop/{slow}").status_code == 200
    assert service.until_ended(slow) == "stopped"
    assert mlflow.get("runs/get", run_id=run_id)["run"]["info"]["status"] == "KILLED"
    assert service.told(f"/job-info/{slow}")["mlflow_run_id"] == run_id


def test_a_server_that_vanishes_during_a_run_does_not_end_it(service: Service, mlflow: Mlflow) -> None:
    cut = service.submit(config=config(EXPERIMENT, steps=200, delay=0.02))
    eventually(lambda: "mlflow_run_id" in listed(service, cut), "the run is tracked", lambda: service.log(cut), 60)
    with mlflow.unplugged():
        assert service.until_ended(cut) == "finished", service.log(cut)
    assert service.told(f"/result/{cut}")["District"]["cost"] > 0
    assert "with MLflow" in service.log(cut)


def test_what_tells_a_job_of_tracking(service: Service, mlflow: Mlflow) -> None:
    service.site.put("configs/named.yaml", "experiment: {name: Named, run_name: first}\n")
    service.site.drop("env.yaml", job("env", "env", image="opeva-test/busybox:latest", configPath="named.yaml"))
    assert service.until_ended("env") == "finished"
    told = set(service.log("env").splitlines())
    assert {
        f"MLFLOW_TRACKING_URI={TRACKING}",
        f"MLFLOW_UI_BASE_URL={mlflow.url}",
        "MLFLOW_EXPERIMENT_NAME=Named",
        "OPEVA_JOB_NAME=Named-first",
        "OPEVA_BASE_DIR=/data",
    } <= told


def test_without_a_server_nothing_is_said_of_tracking(mlflow: Mlflow, tmp_path: Path) -> None:
    with service_on(tmp_path / "volume", mlflow.network) as untracked:
        untracked.site.put("configs/named.yaml", "experiment: {name: Named, run_name: first}\n")
        untracked.site.drop("env.yaml", job("env", "env", image="opeva-test/busybox:latest", configPath="named.yaml"))
        plain = untracked.submit(config=config(EXPERIMENT))
        assert untracked.until_ended("env") == "finished"
        assert "OPEVA_JOB_NAME=Named-first" in untracked.log("env")
        assert "MLFLOW_" not in untracked.log("env")
        assert untracked.until_ended(plain) == "finished"
        assert not [key for key in untracked.told(f"/job-info/{plain}") if key.startswith("mlflow")]
        assert not [key for key in listed(untracked, plain) if key.startswith("mlflow")]


def test_a_server_that_cannot_be_reached_costs_no_run(mlflow: Mlflow, tmp_path: Path) -> None:
    settings = {"OPEVA_MLFLOW_TRACKING_URI": NOWHERE, "OPEVA_MLFLOW_PUBLIC_URL": mlflow.url}
    with service_on(tmp_path / "volume", mlflow.network, **settings) as alone:
        found = alone.submit(config=config(EXPERIMENT))
        assert alone.until_ended(found) == "finished", alone.log(found)
        assert "cannot open a run with MLflow" in alone.log(found)
        assert alone.told(f"/result/{found}")["District"]["cost"] > 0
        assert "mlflow_run_url" not in alone.told(f"/job-info/{found}")
