"""Floor: the same containers by the bare Docker library, which is as fast as any operator could be."""

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import docker
from docker.utils import kwargs_from_env

from benchmarks.report import Figure, median_of
from benchmarks.stage import IMAGE, Stage
from opeva_operator import docker_json
from opeva_operator.acceptance import Accepted
from opeva_operator.clock import wall_now
from opeva_operator.launch import container_spec
from opeva_specs.model import SimulationJob
from opeva_specs.status import Attempt

CONCURRENCIES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds from the beginning to two moments that the engine notes: created, and started."""

    until_created_ms: float
    total_ms: float


def start_of(client: docker.APIClient, container: str, began: float) -> Start:
    """What the engine says of a container that was begun at `began` (seconds since 1970)."""
    found = client.inspect_container(container)
    created_at = docker_json.instant(found["Created"])
    started_at = docker_json.instant(found["State"]["StartedAt"])
    if created_at is None or started_at is None:
        raise RuntimeError(f"the engine has not noted when container {container} was started")
    return Start(1000 * (created_at.timestamp() - began), 1000 * (started_at.timestamp() - began))


def _seconds_between(earlier: dict[str, Any], later: dict[str, Any]) -> float:
    finished_at = docker_json.instant(earlier["FinishedAt"])
    started_at = docker_json.instant(later["StartedAt"])
    if finished_at is None or started_at is None:
        raise RuntimeError("the engine has not noted when a container ended and the next one started")
    return (started_at - finished_at).total_seconds()


class Floor:
    """Containers exactly like the operator's, with nobody in between; their names never meet the operator's."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._client = stage.client
        self._numbers = itertools.count(1)

    def prepare(self, args: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """The name and the body of the next container, its folder made: no part of what is measured."""
        name = f"floor-{next(self._numbers)}"
        for part in ("logs", "progress", "results"):
            (self._stage.root / "jobs" / name / part).mkdir(parents=True)
        job = SimulationJob.model_validate(
            {
                "apiVersion": "opeva.io/v1",
                "kind": "SimulationJob",
                "metadata": {"name": name},
                "spec": {"args": list(args)},
            }
        )
        accepted = Accepted(
            job=job, digest="floor", image=IMAGE, network=self._stage.network, args=tuple(args), job_name=name
        )
        attempt = Attempt(generation=1, attempt=1, queued_at=wall_now())
        instance, root = self._stage.floor_instance, str(self._stage.root)
        wanted = container_spec(accepted, attempt, self._stage.settings, instance, root, None)
        return wanted.name, docker_json.creation(wanted, instance)

    def start(self, prepared: tuple[str, dict[str, Any]]) -> str:
        """Create and start; the container's id."""
        name, body = prepared
        made = self._client.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
        self._client.start(made["Id"])
        return str(made["Id"])

    def start_once(self, args: Sequence[str]) -> Start:
        """One start, timed from the call; the container is gone when this returns."""
        prepared = self.prepare(args)
        began = time.time()
        container = self.start(prepared)
        found = start_of(self._client, container, began)
        self._end(container)
        return found

    def hand_overs_ms(self, args: Sequence[str], count: int) -> list[float]:
        """From the end of one container to the start of the next, which is made as soon as the end is heard of."""
        prepared = [self.prepare(args) for _ in range(count + 1)]
        containers = []
        for one in prepared:
            containers.append(self.start(one))
            self._client.wait(containers[-1])
        states = [self._client.inspect_container(container)["State"] for container in containers]
        for container in containers:
            self._client.remove_container(container, v=True)
        return [1000 * _seconds_between(*pair) for pair in itertools.pairwise(states)]

    def _end(self, container: str) -> None:
        self._client.wait(container)
        self._client.remove_container(container, v=True)

    def seconds_for(self, jobs: int, concurrency: int) -> float:
        """Create, start, wait for and remove that many jobs that do nothing, so many at a time."""
        prepared = [self.prepare(["true"]) for _ in range(jobs)]
        with ThreadPoolExecutor(concurrency) as pool:
            began = time.perf_counter()
            list(pool.map(lambda one: self._end(self.start(one)), prepared))
            return time.perf_counter() - began


def best_concurrency(floor: Floor, jobs: int, rounds: int) -> tuple[int, list[Figure]]:
    """The number of jobs at a time that is fastest, and what each number reached; the rounds are interleaved."""
    rates: dict[int, list[float]] = {concurrency: [] for concurrency in CONCURRENCIES}
    for _ in range(rounds):
        for concurrency, found in rates.items():
            found.append(jobs / floor.seconds_for(jobs, concurrency))
    figures = {
        concurrency: median_of(f"floor: jobs per second, {concurrency} at a time", found, "1/s")
        for concurrency, found in rates.items()
    }
    best = max(figures, key=lambda concurrency: figures[concurrency].value)
    return best, list(figures.values())


def connect() -> docker.APIClient:
    """The engine of the environment."""
    return docker.APIClient(version="auto", timeout=120, max_pool_size=32, **kwargs_from_env())
