"""The volume of a long life: many finished jobs, some running; shared by all that is measured on it."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import docker

from benchmarks.history import NAME, multiply, template_spec
from benchmarks.size import Size
from benchmarks.stage import Stage, spec_text, wait_until


@dataclass(frozen=True, slots=True)
class LongLife:
    """A stage on which nothing runs but the containers of `running`; `finished` are the names of ended jobs."""

    stage: Stage
    finished: list[str]
    running: list[str]
    made_seconds: float

    def live_containers(self) -> dict[str, str]:
        """The running containers: id and start, as the engine tells."""
        rows = self.stage.containers(self.stage.instance)
        inspected = [self.stage.client.inspect_container(row["Id"]) for row in rows]
        return {found["Id"]: found["State"]["StartedAt"] for found in inspected if found["State"]["Running"]}


@contextlib.contextmanager
def long_life(client: docker.APIClient, size: Size) -> Iterator[LongLife]:
    """Make the volume; the operator has run its jobs and has ended."""
    with Stage(client, {"OPEVA_MAX_CONCURRENT_JOBS": str(max(4, size.running))}) as stage:
        running = [f"running-{number:02}" for number in range(size.running)]
        with stage.operator():
            stage.drop(NAME, template_spec())
            stage.wait_for_end([NAME])
            for name in running:
                stage.drop(name, spec_text(name, ["sleep", "86400"]))
            for name in running:
                stage.started_at(name)
        began = time.perf_counter()
        finished = multiply(stage, size.finished)
        yield LongLife(stage, finished, running, time.perf_counter() - began)


def end_running(life: LongLife) -> None:
    """Kill what runs, under an operator that records it."""
    for container in life.live_containers():
        life.stage.client.kill(container)
    with life.stage.operator():
        life.stage.wait_for_end(life.running)
    wait_until(lambda: not life.live_containers(), "nothing runs", every=0.1)
