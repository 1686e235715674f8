"""Restart: an operator that finds a long history and running jobs, until it has looked at all of them."""

from collections.abc import Iterator

from benchmarks.footprint import cpu_seconds
from benchmarks.report import Figure, median_of
from benchmarks.size import Size
from benchmarks.volume import LongLife

MOST_SECONDS = 5.0


def measure(life: LongLife, size: Size) -> Iterator[Figure]:
    """Seconds from the start of the process to `synced`; the running jobs must be the same afterwards."""
    before = life.live_containers()
    first, *found = [_restart(life) for _ in range(1 + size.restarts)]
    after = life.live_containers()
    if after != before or len(after) != len(life.running):
        raise RuntimeError(f"a restart changed what runs: {len(before)} containers before, {len(after)} after")
    jobs = f"{len(life.finished)} finished jobs, {len(life.running)} running"
    yield Figure(name="first restart on files it did not write", value=first[0], unit="s", note=jobs)
    yield median_of("restart until synced", [wall for wall, _ in found], "s", target=MOST_SECONDS, note=jobs)
    yield median_of("restart until synced, CPU time", [cpu for _, cpu in found], "s", note="of the process alone")


def _restart(life: LongLife) -> tuple[float, float]:
    with life.stage.operator() as operator:
        return operator.ready_seconds, cpu_seconds(operator.process.pid)
