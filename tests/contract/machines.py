"""Machines to run the contract on: one in memory, one with a real Docker engine; both offer the same levers."""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import docker
from docker import errors

from opeva_operator.docker_engine import HERE, DockerEngine
from opeva_operator.engine import Container, ContainerSpec, Engine
from opeva_operator.testing import FakeEngine, FakeRun
from opeva_specs.hostsfile import HostEntry

from .registry import Registry

PATIENCE_SECONDS = 15.0


class Machine(Protocol):
    """What a contract test may do beside using the engine."""

    engine: Engine
    image: str
    registry_name: str

    def beside(self, instance: str) -> Engine: ...
    def unreachable(self) -> Engine: ...
    def script(self, job: str, run: FakeRun) -> None: ...
    def pause(self, job: str) -> None: ...
    def plant(self, name: str) -> None: ...
    def publish(self, image: str) -> None: ...
    def close(self) -> None: ...


class FakeMachine:
    """A fake host with the real time, so that both machines wait alike."""

    image = "busybox"
    registry_name = "registry.example"

    def __init__(self) -> None:
        self.fake = FakeEngine("contract", clock=lambda: datetime.now(UTC))
        self.fake.have_image(self.image)
        self.engine: Engine = self.fake

    def beside(self, instance: str) -> Engine:
        return self.fake.beside(instance)

    def unreachable(self) -> Engine:
        engine = self.fake.beside("nobody")
        engine.is_reachable = False
        return engine

    def script(self, job: str, run: FakeRun) -> None:
        self.fake.runs[job] = run

    def pause(self, job: str) -> None:
        self.fake.pause(job)

    def plant(self, name: str) -> None:
        self.fake.plant(name)

    def publish(self, image: str) -> None:
        self.fake.host.registry[image] = "sha256:published"

    def close(self) -> None:
        pass


class DockerMachine:
    """The Docker engine of this machine; all that it makes carries a name of its own and is removed at the end."""

    def __init__(self, image: str, nowhere: HostEntry, at: HostEntry = HERE) -> None:
        self.image, self._nowhere, self._at = image, nowhere, at
        self.run = secrets.token_hex(4)
        self.client = docker.APIClient(version="auto", **docker.utils.kwargs_from_env())
        self.engines = [DockerEngine(f"contract-{self.run}", timeout_seconds=20, at=at)]
        self.engine: Engine = self.engines[0]
        self.registry = Registry()
        self.registry_name = self.registry.name

    def beside(self, instance: str) -> Engine:
        self.engines.append(DockerEngine(f"{instance}-{self.run}", at=self._at))
        return self.engines[-1]

    def unreachable(self) -> Engine:
        return DockerEngine("nobody", timeout_seconds=2, at=self._nowhere)

    def script(self, job: str, run: FakeRun) -> None:
        """Nothing: a real container does what its shell says."""

    def pause(self, job: str) -> None:
        self.client.pause(self.name(job))

    def plant(self, name: str) -> None:
        body = {"Image": self.image, "Cmd": ["sleep", "60"], "Labels": {"opeva-test": self.run}}
        self.client.create_container_from_config(body, name)

    def publish(self, image: str) -> None:
        self.registry.publish(image.removeprefix(f"{self.registry.name}/"))

    def name(self, job: str) -> str:
        return f"opeva-{self.run}-{job}"

    def close(self) -> None:
        for engine in self.engines:
            for found in engine.list():
                engine.remove(found.id)
            engine.close()
        for row in self.client.containers(all=True, filters={"label": f"opeva-test={self.run}"}):
            self.client.remove_container(row["Id"], force=True)
        for network in self.client.networks(names=[self.run]):
            self.client.remove_network(network["Id"])
        for image in self.client.images():
            for reference in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())):
                if reference.startswith(self.registry.name):
                    with contextlib.suppress(errors.ImageNotFound):
                        self.client.remove_image(reference, force=True)
        self.client.close()
        self.registry.close()


class Bench:
    """A machine with the words that the contract tests are written in."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.engine = machine.engine
        self.run_id = getattr(machine, "run", "fake")

    def name(self, job: str) -> str:
        return f"opeva-{self.run_id}-{job}"

    def wanted(self, job: str, script: str = "exit 0", **changes: Any) -> ContainerSpec:
        spec = ContainerSpec(
            name=self.name(job),
            job=job,
            generation=2,
            attempt=3,
            digest="sha256:abc",
            image=self.machine.image,
            command=("sh", "-c", script),
            args=(),
            env={},
            network="none",
        )
        return replace(spec, **changes)

    def create(self, job: str, script: str = "exit 0", run: FakeRun | None = None, **changes: Any) -> str:
        self.machine.script(job, run or FakeRun(run_for=0))
        return self.engine.create(self.wanted(job, script, **changes))

    def start(self, job: str, script: str = "exit 0", run: FakeRun | None = None, **changes: Any) -> str:
        container_id = self.create(job, script, run, **changes)
        self.engine.start(container_id)
        return container_id

    def sleeper(self, job: str, **changes: Any) -> str:
        return self.start(job, "sleep 60", FakeRun(), **changes)

    def found(self, job: str) -> Container:
        found = self.engine.find(self.name(job))
        assert found is not None, f"no container of job {job!r}"
        return found

    def ended(self, job: str) -> Container:
        self.eventually(lambda: self.found(job).has_ended)
        return self.found(job)

    @staticmethod
    def eventually(is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"not so after {PATIENCE_SECONDS:g} s"
            time.sleep(0.02)
