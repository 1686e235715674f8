"""Latency: from the rename of a spec, or from a POST, to the container's StartedAt, beside a bare create and start."""

import time
from collections.abc import Callable, Iterator

import docker
import httpx

from benchmarks.floor import Floor
from benchmarks.report import Figure, median_of
from benchmarks.size import Size
from benchmarks.stage import Stage, spec_text

BY_FILE_MS, BY_POST_MS = 30.0, 40.0
ARGS = ["sleep", "0.3"]
CONFIG = {"experiment": {"name": "bench", "run_name": "latency"}, "simulator": {"episodes": 1}}


def measure(client: docker.APIClient, size: Size) -> Iterator[Figure]:
    """What the way through a file, and through the API, adds to what the engine needs anyway."""
    given = {"OPEVA_JOB_ARGS": " ".join(ARGS)}
    with Stage(client, given) as stage, stage.operator(), stage.api() as api, httpx.Client(base_url=api.url) as http:
        floor = Floor(stage)
        measures: dict[str, Callable[[int], float]] = {
            "floor": lambda _: floor.seconds_to_start(ARGS),
            "file": lambda number: _by_file(stage, number),
            "POST": lambda _: _by_post(stage, http),
        }
        for one in measures.values():  # the first of each warms up caches that a service in use has warm
            one(0)
        found = _interleaved(measures, size)
    yield median_of("floor: create and start", found["floor"], "ms")
    for name, target in (("file", BY_FILE_MS), ("POST", BY_POST_MS)):
        yield median_of(f"{name} to StartedAt", found[name], "ms")
        pairs = zip(found[name], found["floor"], strict=True)
        yield median_of(f"overhead by {name}", [ours - bare for ours, bare in pairs], "ms", target=target)


def _interleaved(measures: dict[str, Callable[[int], float]], size: Size) -> dict[str, list[float]]:
    """Milliseconds of each; who goes first changes from round to round."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(1, size.pairs + 1):
        names = list(measures)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            time.sleep(size.gap_seconds)
            found[name].append(measures[name](number) * 1000)
    return found


def _by_file(stage: Stage, number: int) -> float:
    name = f"file-{number}"
    began = stage.drop(name, spec_text(name, ARGS, config=str(CONFIG).replace("'", '"')))
    return _seconds_to_start(stage, name, began)


def _by_post(stage: Stage, http: httpx.Client) -> float:
    began = time.time()
    answer = http.post("/run-simulation", json={"config": CONFIG})
    answer.raise_for_status()
    return _seconds_to_start(stage, answer.json()["job_id"], began)


def _seconds_to_start(stage: Stage, name: str, began: float) -> float:
    started_at = stage.started_at(name)
    stage.wait_for_end([name])
    return started_at - began
