"""The machines that the contract is tried on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.doors import SshDoor, TlsDoor, free_port
from tests.contract.machines import Bench, DockerMachine, FakeMachine, Machine

from opeva_specs.hostsfile import HostEntry

SOCKET = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or "/var/run/docker.sock"
DOORS = ("docker", "tls", "ssh")


@pytest.fixture(params=["fake", *(pytest.param(door, marks=pytest.mark.docker) for door in DOORS)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each engine in turn, the real one by each of its doors."""
    machine: Machine = FakeMachine() if request.param == "fake" else _machine(request, tmp_path, request.param)
    try:
        yield Bench(machine)
    finally:
        machine.close()


@pytest.fixture
def docker_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """The Docker engine only."""
    machine = _machine(request, tmp_path, "docker")
    try:
        yield Bench(machine)
    finally:
        machine.close()


@pytest.fixture(scope="session")
def tls_door() -> Iterator[TlsDoor]:
    """The machine's engine behind TLS."""
    door = TlsDoor(SOCKET)
    yield door
    door.close()


@pytest.fixture(scope="session")
def ssh_door() -> Iterator[SshDoor]:
    """The machine's engine behind ssh."""
    door = SshDoor(SOCKET)
    yield door
    door.close()


def _machine(request: pytest.FixtureRequest, folder: Path, door: str) -> DockerMachine:
    image = request.getfixturevalue("busybox")
    if door == "docker":
        nobody = HostEntry(name="nobody", url=f"unix://{folder}/nobody.sock", shared_data="/nowhere")
        return DockerMachine(image, nobody)
    entry: HostEntry = request.getfixturevalue(f"{door}_door").entry(door, "/nowhere")
    assert entry.url is not None
    head, _, _ = entry.url.rpartition(":")
    return DockerMachine(image, entry.model_copy(update={"url": f"{head}:{free_port()}"}), entry)
