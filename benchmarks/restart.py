"""Restart: an operator that finds a long history and running jobs, until it has looked at all of them."""

import time
from collections.abc import Iterator

from benchmarks.report import Figure, median_of
from benchmarks.size import Size
from benchmarks.volume import LongLife

MOST_SECONDS = 5.0


def measure(life: LongLife, size: Size) -> Iterator[Figure]:
    """Seconds from the start of the process to `synced`; the running jobs must be the same afterwards."""
    before = life.live_containers()
    first = _restart(life)
    found = []
    for _ in range(size.restarts):
        found.append(_restart(life))
        time.sleep(0.5)
    after = life.live_containers()
    if after != before or len(after) != len(life.running):
        raise RuntimeError(f"a restart changed what runs: {len(before)} containers before, {len(after)} after")
    jobs = f"{len(life.finished)} finished jobs, {len(life.running)} running"
    yield Figure(name="first restart on files it did not write", value=first, unit="s", note=jobs)
    yield median_of("restart until synced", found, "s", target=MOST_SECONDS, note=jobs)


def _restart(life: LongLife) -> float:
    with life.stage.operator() as operator:
        return operator.ready_seconds
