"""Waiting: thousands of queued jobs behind one that runs: accepted, told of, left alone, and canceled."""

import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import docker
import httpx
import orjson

from benchmarks.api import Kinds, interleaved
from benchmarks.footprint import at_rest, cpu_seconds
from benchmarks.report import Figure, quantile_of
from benchmarks.size import Size
from benchmarks.stage import Running, Stage, spec_text, wait_until
from benchmarks.turnover import Holder, hand_overs
from opeva_operator.clock import wall_now
from opeva_specs.status import Wish
from opeva_specs.store import CONFIRM_DELETIONS, ControlStore

PATIENCE_SECONDS = 1200.0


def measure(client: docker.APIClient, size: Size) -> Iterator[Figure]:
    """All of it on one volume; half of the jobs are canceled by wishes, half by the removal of their files."""
    names = [f"waiting-{number:05}" for number in range(size.waiting)]
    with Stage(client, {"OPEVA_MAX_CONCURRENT_JOBS": "1"}) as stage:
        with stage.operator() as operator:
            holder = Holder.take(stage)
            yield from _changes("accepted", operator, len(names), lambda: _accept(stage, names))
            with stage.api() as api:
                yield from _reads(api, names, size)
                yield from _at_rest(operator, api, size)
            yield from hand_overs(holder, size, f"{len(names)} others wait")
        with stage.operator() as operator:
            yield Figure(name=f"restart with {len(names)} queued", value=operator.ready_seconds, unit="s")
            half = len(names) // 2
            yield from _changes("canceled by wish", operator, half, lambda: _wish(stage, names[:half]))
            rest = names[half:]
            yield from _changes("canceled by removal", operator, len(rest), lambda: _remove(stage, rest))


def _changes(what: str, operator: Running, jobs: int, do: Callable[[], None]) -> Iterator[Figure]:
    """Jobs per second, and what each costs the operator."""
    before, began = cpu_seconds(operator.process.pid), time.perf_counter()
    do()
    seconds, used = time.perf_counter() - began, cpu_seconds(operator.process.pid) - before
    yield Figure(name=f"queued specs {what}", value=jobs / seconds, unit="1/s", note=f"{jobs} in {seconds:.1f} s")
    yield Figure(name=f"queued specs {what}: operator's CPU time per job", value=1000 * used / jobs, unit="ms")


def _accept(stage: Stage, names: Sequence[str]) -> None:
    for name in names:
        stage.drop(name, spec_text(name, ["true"]))
    stage.wait_for_phase(names, "Queued", PATIENCE_SECONDS)


def _wish(stage: Stage, names: Sequence[str]) -> None:
    """As the API does it: each is durable before the next."""
    controls = ControlStore(stage.volume)
    for name in names:
        controls.write(name, Wish(id=str(uuid.uuid4()), wish="stop", by="bench", at=wall_now()))
    stage.wait_for_phase(names, "Canceled", PATIENCE_SECONDS)


def _remove(stage: Stage, names: Sequence[str]) -> None:
    """So many at once look like an accident: a person has to confirm it, here as soon as the operator holds them."""
    for name in names:
        (stage.root / "specs" / f"{name}.yaml").unlink()

    def are_noticed() -> bool:
        held = set(orjson.loads((stage.root / "state/operator.json").read_bytes())["heldDeletions"])
        return all(name in held or stage.phase(name) == "Canceled" for name in names)

    wait_until(are_noticed, "the removals are noticed", every=0.5, patience_seconds=PATIENCE_SECONDS)
    (stage.root / "control" / CONFIRM_DELETIONS).touch()
    stage.wait_for_phase(names, "Canceled", PATIENCE_SECONDS)


def _reads(api: Running, names: Sequence[str], size: Size) -> Iterator[Figure]:
    """Milliseconds of what tells of those who wait."""
    chance = random.Random(2)
    kinds: Kinds = {
        "GET /jobs": (size.list_reads, lambda: "/jobs"),
        "GET /queue": (size.list_reads, lambda: "/queue"),
        "GET /explain": (size.status_reads // 4, lambda: f"/explain/{chance.choice(names)}"),
    }
    with httpx.Client(base_url=api.url, timeout=60) as http:
        found = interleaved(http, kinds, chance)
        jobs, queue = len(http.get("/jobs").json()), len(http.get("/queue").json())
    if queue < len(names) or jobs < len(names):
        raise RuntimeError(f"the API tells of {jobs} jobs and {queue} in the queue: there are {len(names)}")
    for kind, samples in found.items():
        for share in (0.5, 0.99):
            yield quantile_of(f"{kind}, p{100 * share:.0f}, {len(names)} queued", samples, share, "ms")


def _at_rest(operator: Running, api: Running, size: Size) -> Iterator[Figure]:
    for who, (memory, idle) in at_rest({"operator": operator, "API": api}, size).items():
        yield Figure(name=f"{who}: resident memory, {size.waiting} queued", value=memory, unit="MB")
        note = f"{size.idle_seconds:.0f} s"
        yield Figure(name=f"{who}: CPU when idle, {size.waiting} queued", value=idle, unit="%", note=note)
