"""Throughput: many jobs that do nothing, from the first drop to the last outcome, beside the bare library's best."""

from collections.abc import Iterator

import docker

from benchmarks.floor import Floor, best_concurrency
from benchmarks.footprint import cpu_seconds
from benchmarks.report import Figure, median_of
from benchmarks.size import Size
from benchmarks.stage import Stage, spec_text

CONCURRENT = 8
LEAST_SHARE = 90.0


def measure(client: docker.APIClient, size: Size) -> Iterator[Figure]:
    """Jobs per second of both, round by round, and the share of the floor that is reached."""
    with Stage(client, {"OPEVA_MAX_CONCURRENT_JOBS": str(CONCURRENT)}) as stage, stage.operator() as operator:
        floor = Floor(stage)
        best, figures = best_concurrency(floor, size.floor_jobs, size.floor_rounds)
        yield from figures
        rates: list[tuple[float, float]] = []
        before = cpu_seconds(operator.process.pid)
        for number in range(size.rounds):
            seconds = _in_turn(stage, floor, size.jobs, best, number)
            rates.append((size.jobs / seconds[0], size.jobs / seconds[1]))
        used = cpu_seconds(operator.process.pid) - before
    yield median_of(f"floor: jobs per second, best ({best} at a time)", [bare for _, bare in rates], "1/s")
    yield median_of(f"jobs per second, {size.jobs} dropped at once", [ours for ours, _ in rates], "1/s")
    shares = [100 * ours / bare for ours, bare in rates]
    yield median_of("throughput, share of the floor", shares, "%", target=LEAST_SHARE, more_is_better=True)
    jobs = size.jobs * size.rounds
    yield Figure(name="operator: CPU time per job", value=1000 * used / jobs, unit="ms", samples=jobs)


def _in_turn(stage: Stage, floor: Floor, jobs: int, best: int, number: int) -> tuple[float, float]:
    """Seconds of ours and of the floor; who goes first changes from round to round."""
    if number % 2 == 0:
        ours = _round(stage, jobs, number)
        return ours, floor.seconds_for(jobs, best)
    bare = floor.seconds_for(jobs, best)
    return _round(stage, jobs, number), bare


def _round(stage: Stage, jobs: int, number: int) -> float:
    """Seconds from the first rename to the last terminal status; all containers are gone when this returns."""
    names = [f"round{number}-{job}" for job in range(jobs)]
    began = [stage.drop(name, spec_text(name, ["true"])) for name in names]
    stage.wait_for_end(names)
    # By the files' own times: to look more often would take from the very CPUs that are measured.
    written = [(stage.root / "status" / f"{name}.json").stat().st_mtime for name in names]
    return max(written) - began[0]
