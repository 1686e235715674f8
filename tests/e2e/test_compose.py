"""The real image and the real stack, brought up with compose on an empty folder, as a newcomer would."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

ROOT = Path(__file__).parents[2]
IMAGE = "opeva-test/opeva-jobs:latest"
SIMULATOR = "opeva-test/simulator:latest"
SIMULATOR_DOCKERFILE = """
FROM opeva-test/busybox:latest
ENTRYPOINT ["/bin/sh", "-c", "echo simulated with $*", "simulator"]
"""
SPEC = """
apiVersion: opeva.io/v1
kind: SimulationJob
metadata:
  name: {name}
spec:
  image: opeva-test/busybox:latest
  command: [sh, -c]
  args: [echo hello from {name}]
"""
ENDED = {"finished", "failed", "stopped", "canceled"}

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


@dataclass(frozen=True, slots=True)
class Stack:
    """One compose project on a volume of its own."""

    project: str
    volume: Path
    port: int

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run compose on this project and return what it printed."""
        return run(*compose_command(), "--project-name", self.project, *arguments, env=self.env(), check=check)

    def env(self) -> dict[str, str]:
        """This process's environment without what would lead compose elsewhere."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPEVA_", "COMPOSE_"))}
        return inherited | {
            "OPEVA_IMAGE": IMAGE,
            "OPEVA_DEFAULT_IMAGE": SIMULATOR,
            "OPEVA_SHARED_DATA": str(self.volume),
            "OPEVA_API_PORT": str(self.port),
        }

    def api(self) -> httpx.Client:
        """A client of this stack's API that no proxy of the machine gets in the way of."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=20)

    def status(self, job: str) -> str | None:
        """The API's word for a job; None while it does not know the job."""
        with self.api() as api:
            answer = api.get(f"/status/{job}")
        return None if answer.status_code == 404 else answer.raise_for_status().json()["status"]

    def logs(self, job: str) -> str:
        """What the API gives as the job's log."""
        with self.api() as api:
            return api.get(f"/logs/{job}").raise_for_status().text


def run(*command: str, stdin: str = "", env: dict[str, str] | None = None, check: bool = True) -> str:
    done = subprocess.run(command, cwd=ROOT, input=stdin, env=env, capture_output=True, text=True, timeout=500)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def compose_command() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    assert shutil.which("docker-compose"), (
        "no compose here: apt-get install docker-compose, or run the tests with `make test`"
    )
    return ["docker-compose"]


def until_ended(stack: Stack, job: str, seconds: float = 60) -> str | None:
    """The job's last status; a terminal one unless the time is over."""
    give_up_at = time.monotonic() + seconds
    while (status := stack.status(job)) not in ENDED and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return status


def until_healthy(stack: Stack, seconds: float = 60) -> None:
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            with stack.api() as api:
                api.get("/health").raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > give_up_at:
                raise
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def remove_job_containers(volume: Path) -> None:
    """Remove the containers that this volume's operator made, and no others."""
    instance = volume / "state" / "instance.json"
    if not instance.exists():
        return
    label = f"label=opeva.io/instance={json.loads(instance.read_text())['id']}"
    containers = run("docker", "ps", "--all", "--quiet", "--filter", label).split()
    if containers:
        run("docker", "rm", "--force", *containers)


@pytest.fixture(scope="module")
def images() -> None:
    run("tests/images/make_images.sh", "busybox", "python")
    run("docker", "build", "--quiet", "--tag", SIMULATOR, "-", stdin=SIMULATOR_DOCKERFILE)


@pytest.fixture(scope="module")
def network() -> None:
    """The network that compose expects; it stays afterwards, since others may have joined it."""
    if "opeva_network" not in run("docker", "network", "ls", "--format", "{{.Name}}").split():
        run("docker", "network", "create", "opeva_network")


@pytest.fixture(scope="module")
def stack(images: None, network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # The folder itself is left for Docker to make, as on a machine where nobody has prepared anything.
    volume = tmp_path_factory.mktemp("compose") / "volume"
    stack = Stack(project=f"opeva-test-{uuid4().hex[:8]}", volume=volume, port=free_port())
    try:
        stack.compose("up", "--detach", "--build")
        until_healthy(stack)
        yield stack
    finally:
        print(stack.compose("logs", "--no-color", check=False))
        stack.compose("down", "--volumes", "--timeout", "15", check=False)
        remove_job_containers(volume)


def test_a_file_dropped_into_specs_runs_to_its_end(stack: Stack) -> None:
    name = "by-file"
    hidden = stack.volume / "specs" / f".{name}.yaml"
    hidden.write_text(SPEC.format(name=name))
    hidden.rename(hidden.with_name(f"{name}.yaml"))

    assert until_ended(stack, name) == "finished"
    assert f"hello from {name}" in stack.logs(name)


def test_a_posted_config_runs_to_its_end(stack: Stack) -> None:
    config = {"experiment": {"name": "compose", "run_name": "by-post"}, "simulator": {"episodes": 1}}
    with stack.api() as api:
        accepted = api.post("/run-simulation", json={"config": config}).raise_for_status().json()
    job = accepted["job_id"]

    assert accepted["status"] == "queued"
    assert until_ended(stack, job) == "finished"
    assert f"simulated with --config /data/jobs/{job}/config.yaml --job_id {job}" in stack.logs(job)
    with stack.api() as api:
        assert job in [listed["job_id"] for listed in api.get("/jobs").raise_for_status().json()]


@pytest.mark.parametrize("folder", ["specs/api", "control", "configs", "datasets"])
def test_the_api_can_write_where_it_must(stack: Stack, folder: str) -> None:
    assert tells_yes(stack, f"touch /data/{folder}/.probe && rm /data/{folder}/.probe")


@pytest.mark.parametrize("folder", ["specs", "status", "state", "rejected", "jobs", "", "../etc"])
def test_the_api_can_write_nowhere_else(stack: Stack, folder: str) -> None:
    assert not tells_yes(stack, f"touch /data/{folder}/.probe")


def test_the_api_has_no_socket_and_the_operator_has(stack: Stack) -> None:
    socket_is_there = "test -S /var/run/docker.sock"
    assert not tells_yes(stack, socket_is_there)
    assert tells_yes(stack, socket_is_there, service="operator")


def test_only_our_two_services_run_and_both_let_watchtower_update_them(stack: Stack) -> None:
    mine = ("--filter", f"label=com.docker.compose.project={stack.project}")
    enabled = ("--filter", "label=com.centurylinklabs.watchtower.enable=true")
    service = '{{.Label "com.docker.compose.service"}}'
    everything = run("docker", "ps", "--all", *mine, "--format", service).split()
    updated = run("docker", "ps", *mine, *enabled, "--format", service).split()
    assert sorted(everything) == sorted(updated) == ["api", "operator"]


def tells_yes(stack: Stack, question: str, service: str = "api") -> bool:
    """Ask a shell inside a service; anything but a plain yes or no is an error."""
    answer = stack.compose("exec", "-T", service, "sh", "-c", f"if {question}; then echo yes; else echo no; fi").strip()
    assert answer in {"yes", "no"}
    return answer == "yes"
