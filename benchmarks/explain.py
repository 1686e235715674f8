"""Explain: how fast the API says why a job does not run, while many others wait for many reasons."""

import random
import time
from collections.abc import Iterator
from typing import Any

import docker
import httpx

from benchmarks.api import Kinds, interleaved
from benchmarks.report import Figure, quantile_of
from benchmarks.size import Size
from benchmarks.stage import Stage, spec_text
from benchmarks.turnover import Holder

MOST_MS = 50.0
MIB = 2**20


def measure(client: docker.APIClient, size: Size) -> Iterator[Figure]:
    """Milliseconds per question, of jobs by chance and of a spec that is not submitted."""
    chance = random.Random(3)
    names = [f"asked-{number:04}" for number in range(size.explained)]
    with Stage(client, {"OPEVA_MAX_CONCURRENT_JOBS": "1"}) as stage, stage.operator(), stage.api() as api:
        Holder.take(stage)
        for name in names:
            stage.drop(name, spec_text(name, ["true"], **_fields(chance)))
        stage.wait_for_phase(names, "Queued", 300)
        time.sleep(size.gap_seconds)
        kinds: Kinds = {
            "GET /explain": (size.explains, lambda: f"/explain/{chance.choice(names)}"),
            "floor: GET /no-such-page": (size.explains, lambda: "/no-such-page"),
        }
        with httpx.Client(base_url=api.url, timeout=60) as http:
            _check(http, names)
            found = interleaved(http, kinds, chance)
            found["POST /specs/explain"] = [_asked_ms(http, chance) for _ in range(size.explains)]
    for kind, samples in found.items():
        for share in (0.5, 0.95):
            target = MOST_MS if share == 0.95 and "explain" in kind else None
            name, note = f"{kind}, p{100 * share:.0f}", f"{len(names)} jobs wait"
            yield quantile_of(name, samples, share, "ms", target=target, note=note)


def _fields(chance: random.Random) -> dict[str, Any]:
    """Users, priorities and sizes that differ; one in ten waits for a config that is not there."""
    found: dict[str, Any] = {
        "submittedBy": f"user{chance.randrange(12)}",
        "priority": chance.choice([0, 0, 0, 5, 10]),
        "resources": {"cpu": chance.choice([0.5, 1, 64]), "memory": chance.choice([64, 256, 512]) * MIB},
    }
    return found | ({"configPath": "missing.yaml"} if chance.random() < 0.1 else {})


def _check(http: httpx.Client, names: list[str]) -> None:
    """What is timed is an answer that names what is in the way."""
    for name in names:
        answer = http.get(f"/explain/{name}")
        answer.raise_for_status()
        if not answer.json()["blockers"]:
            raise RuntimeError(f"GET /explain/{name} names nothing that is in the way: {answer.text}")


def _asked_ms(http: httpx.Client, chance: random.Random) -> float:
    text = spec_text("not-yet-there", ["true"], **_fields(chance))
    began = time.perf_counter()
    answer = http.post("/specs/explain", content=text, headers={"Content-Type": "application/yaml"})
    answer.raise_for_status()
    return 1000 * (time.perf_counter() - began)
