"""Latency: from the rename of a spec, or from a POST, to the container's StartedAt, beside a bare create and start."""

import time
from collections.abc import Callable, Iterator

import docker
import httpx

from benchmarks.floor import Floor, Start, start_of
from benchmarks.report import Figure, median_of
from benchmarks.size import Size
from benchmarks.stage import Stage, spec_text
from opeva_operator.launch import container_name

BY_FILE_MS, BY_POST_MS = 30.0, 40.0
ARGS = ["sleep", "1"]  # long enough to be looked at while it runs
CONFIG = {"experiment": {"name": "bench", "run_name": "latency"}, "simulator": {"episodes": 1}}


def measure(client: docker.APIClient, size: Size) -> Iterator[Figure]:
    """What the way through a file, and through the API, adds to what the engine needs anyway."""
    given = {"OPEVA_JOB_ARGS": " ".join(ARGS)}
    with Stage(client, given) as stage, stage.operator(), stage.api() as api, httpx.Client(base_url=api.url) as http:
        floor = Floor(stage)
        measures: dict[str, Callable[[int], Start]] = {
            "floor": lambda _: floor.start_once(ARGS),
            "file": lambda number: _by_file(stage, number),
            "POST": lambda _: _by_post(stage, http),
        }
        for one in measures.values():  # the first of each warms up caches that a service in use has warm
            one(0)
        found = _interleaved(measures, size)
    bare = found["floor"]
    yield median_of("floor: create and start, to StartedAt", [start.total_ms for start in bare], "ms")
    for name, target in (("file", BY_FILE_MS), ("POST", BY_POST_MS)):
        pairs = list(zip(found[name], bare, strict=True))
        yield median_of(f"{name} to StartedAt", [start.total_ms for start in found[name]], "ms")
        yield median_of(
            f"overhead by {name}", [ours.total_ms - floor.total_ms for ours, floor in pairs], "ms", target=target
        )
        yield median_of(
            f"overhead by {name}, until the engine creates",
            [ours.until_created_ms - floor.until_created_ms for ours, floor in pairs],
            "ms",
            note="the same without the engine's own noise",
        )


def _interleaved(measures: dict[str, Callable[[int], Start]], size: Size) -> dict[str, list[Start]]:
    """Samples of each; who goes first changes from round to round."""
    found: dict[str, list[Start]] = {name: [] for name in measures}
    for number in range(1, size.pairs + 1):
        names = list(measures)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            time.sleep(size.gap_seconds)
            found[name].append(measures[name](number))
    return found


def _by_file(stage: Stage, number: int) -> Start:
    name = f"file-{number}"
    began = stage.drop(name, spec_text(name, ARGS, config=CONFIG))
    return _start_of(stage, name, began)


def _by_post(stage: Stage, http: httpx.Client) -> Start:
    began = time.time()
    answer = http.post("/run-simulation", json={"config": CONFIG})
    answer.raise_for_status()
    return _start_of(stage, answer.json()["job_id"], began)


def _start_of(stage: Stage, name: str, began: float) -> Start:
    stage.started_at(name)
    found = start_of(stage.client, container_name(stage.instance, name), began)
    stage.wait_for_end([name])
    return found
