"""Turnover: from the end of the job that had the only place to the start of the next one, beside the bare library."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import docker

from benchmarks.floor import Floor
from benchmarks.report import Figure, median_of, quantile_of
from benchmarks.size import Size
from benchmarks.stage import Stage, spec_text
from opeva_operator.launch import container_name

MOST_MS = 300.0
SHORT, LONG = ["sleep", "1"], ["sleep", "86400"]


def measure(client: docker.APIClient, size: Size) -> Iterator[Figure]:
    """The same where nobody else waits."""
    with Stage(client, {"OPEVA_MAX_CONCURRENT_JOBS": "1"}) as stage, stage.operator():
        holder = Holder.take(stage)
        yield from hand_overs(holder, size, "nobody else waits")


@dataclass(slots=True)
class Holder:
    """Who holds the one place there is: always a job that would run for ever."""

    stage: Stage
    name: str

    @classmethod
    def take(cls, stage: Stage) -> "Holder":
        """Let the first one have it."""
        stage.drop("holder", spec_text("holder", LONG))
        stage.started_at("holder")
        return cls(stage, "holder")

    def relay_ms(self, number: int, count: int) -> list[float]:
        """So many times from one job's end to the next one's start; all others that wait go on waiting."""
        names = [f"relay{number}-{place}" for place in range(count + 1)]
        for place, name in enumerate(names):
            args = SHORT if name != names[-1] else LONG
            self.stage.drop(name, spec_text(name, args, priority=len(names) - place))
        self.stage.wait_for_phase(names, "Queued", 60)
        time.sleep(0.5)
        self.stage.client.kill(container_name(self.stage.instance, self.name))
        self.name = names[-1]
        self.stage.started_at(self.name)
        ended = self.stage.wait_for_end(names[:-1])
        finished = [status.attempt.finished_at for status in ended if status.attempt and status.attempt.finished_at]
        started = [self.stage.started_at(name) for name in names[1:]]
        pairs = zip(finished, started, strict=True)
        return [1000 * (started_at - finished_at.timestamp()) for finished_at, started_at in pairs]


def hand_overs(holder: Holder, size: Size, note: str) -> Iterator[Figure]:
    """The times of both, in turns, and what the operator adds."""
    floor = Floor(holder.stage)
    ours: list[float] = []
    bare: list[float] = []
    for number in range(size.relays):
        if number % 2:
            bare += floor.hand_overs_ms(SHORT, size.hand_overs)
        ours += holder.relay_ms(number, size.hand_overs)
        if number % 2 == 0:
            bare += floor.hand_overs_ms(SHORT, size.hand_overs)
    added = [with_us - without for with_us, without in zip(ours, bare, strict=True)]
    for what, samples in (("floor: end of one", bare), ("end of one job", ours)):
        name = f"{what} to start of the next, {note}"
        yield median_of(name, samples, "ms")
        yield quantile_of(f"{name}, p95", samples, 0.95, "ms")
    yield median_of(f"overhead of the next start, {note}, median", added, "ms")
    yield quantile_of(f"overhead of the next start, {note}, p95", added, 0.95, "ms", target=MOST_MS)
