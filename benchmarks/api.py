"""The API: how fast it tells of a long history, and how fast it accepts."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import docker
import httpx

from benchmarks.report import Figure, median_of, quantile_of
from benchmarks.size import Size
from benchmarks.stage import Running, Stage, spec_text
from benchmarks.volume import LongLife

STATUS_P99_MS, ALL_JOBS_MS = 5.0, 150.0
CLIENTS = 8

Kinds = dict[str, tuple[int, Callable[[], str]]]  # of requests: how many, and the path of the next one


def measure_reads(life: LongLife, size: Size) -> Iterator[Figure]:
    """Milliseconds per request on one connection that is kept open, the kinds interleaved."""
    chance = random.Random(1)
    with life.stage.operator(), life.stage.api() as api, httpx.Client(base_url=api.url) as http:
        yield Figure(name="API start until it answers", value=api.ready_seconds, unit="s")
        kinds: Kinds = {
            "GET /status": (size.status_reads, lambda: f"/status/{chance.choice(life.finished)}"),
            "GET /jobs?limit=50": (size.status_reads // 4, lambda: "/jobs?limit=50"),
            "GET /jobs": (size.list_reads, lambda: "/jobs"),
            "floor: GET /no-such-page": (size.status_reads // 4, lambda: "/no-such-page"),
        }
        found = interleaved(http, kinds, chance)
        jobs = len(http.get("/jobs").json())
    if jobs < size.finished:
        raise RuntimeError(f"GET /jobs tells of {jobs} jobs: there are {size.finished}")
    targets = {("GET /status", 0.99): STATUS_P99_MS, ("GET /jobs", 0.99): ALL_JOBS_MS}
    for kind, samples in found.items():
        for share in (0.5, 0.99):
            name, target = f"{kind}, p{share * 100:.0f}", targets.get((kind, share))
            yield quantile_of(name, samples, share, "ms", target=target, note=f"{jobs} jobs")


def interleaved(http: httpx.Client, kinds: Kinds, chance: random.Random) -> dict[str, list[float]]:
    """Milliseconds of each request, the kinds mixed by chance."""
    turns = [kind for kind, (count, _) in kinds.items() for _ in range(count)]
    chance.shuffle(turns)
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind in turns:
        found[kind].append(_timed(http, kinds[kind][1]()))
    return found


def _timed(http: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    http.get(path)
    return (time.perf_counter() - began) * 1000


def measure_posts(client: docker.APIClient, size: Size) -> Iterator[Figure]:
    """Jobs accepted per second, each durable before its answer, while the one place is taken by a long job."""
    with Stage(client, {"OPEVA_MAX_CONCURRENT_JOBS": "1"}) as stage, stage.operator(), stage.api() as api:
        stage.drop("long", spec_text("long", ["sleep", "86400"]))
        stage.started_at("long")
        for clients in (1, CLIENTS):
            wall, seconds = _posts(api, size.posts // clients, clients)
            label = "1 client" if clients == 1 else f"{clients} clients"
            count = len(seconds)
            yield Figure(name=f"POST rate, {label}", value=count / wall, unit="1/s", samples=count)
            yield median_of(f"POST, {label}, p50", [1000 * second for second in seconds], "ms")
            yield quantile_of(f"POST, {label}, p99", [1000 * second for second in seconds], 0.99, "ms")


def _posts(api: Running, each: int, clients: int) -> tuple[float, list[float]]:
    """Seconds that all took together, and seconds of each."""

    def work(_: int) -> list[float]:
        with httpx.Client(base_url=api.url, timeout=60) as http:
            return [_post(http) for _ in range(each)]

    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        found = [second for seconds in pool.map(work, range(clients)) for second in seconds]
        return time.perf_counter() - began, found


def _post(http: httpx.Client) -> float:
    began = time.perf_counter()
    answer = http.post("/run-simulation", json={"config": {"experiment": {"name": "bench", "run_name": "post"}}})
    answer.raise_for_status()
    return time.perf_counter() - began
