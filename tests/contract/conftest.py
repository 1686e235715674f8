"""The machines that the contract is tried on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.machines import Bench, DockerMachine, FakeMachine, Machine


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each engine in turn."""
    machine: Machine = FakeMachine() if request.param == "fake" else _docker(request, tmp_path)
    try:
        yield Bench(machine)
    finally:
        machine.close()


@pytest.fixture
def docker_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """The Docker engine only."""
    machine = _docker(request, tmp_path)
    try:
        yield Bench(machine)
    finally:
        machine.close()


def _docker(request: pytest.FixtureRequest, tmp_path: Path) -> DockerMachine:
    return DockerMachine(request.getfixturevalue("busybox"), tmp_path / "nobody.sock")
