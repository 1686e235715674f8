"""The command: measure, print a table, and write JSON if asked to."""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import docker
import orjson
from rich.console import Console

from benchmarks import api, explain, footprint, latency, restart, throughput, turnover, waiting
from benchmarks.floor import connect
from benchmarks.report import Figure, show, surroundings
from benchmarks.size import FULL, QUICK, Size
from benchmarks.stage import IMAGE, PARENT
from benchmarks.volume import LongLife, end_running, long_life

ON_A_NEW_VOLUME: dict[str, Callable[[docker.APIClient, Size], Iterator[Figure]]] = {
    "latency": latency.measure,
    "throughput": throughput.measure,
    "posts": api.measure_posts,
    "turnover": turnover.measure,
    "explain": explain.measure,
    "waiting": waiting.measure,
}
ON_A_LONG_LIFE: dict[str, Callable[[LongLife, Size], Iterator[Figure]]] = {
    "restart": restart.measure,
    "reads": api.measure_reads,
    "footprint": footprint.measure,
}


def main() -> None:
    """Measure what was asked for."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _end)
    console = Console(width=None if sys.stdout.isatty() else 140)
    client = connect()
    client.inspect_image(IMAGE)  # type: ignore[no-untyped-call]  # a clear word of the engine's now, rather than after minutes
    around = surroundings(str(client.version()["Version"]), sync_ms())
    console.print(f"surroundings: {around}")
    figures = list(_measured(client, QUICK if arguments.quick else FULL, arguments.only, console))
    show(figures, console)
    if arguments.json:
        told: dict[str, Any] = {
            "quick": arguments.quick,
            "surroundings": around,
            "figures": [figure.as_dict() for figure in figures],
        }
        arguments.json.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")


def _end(number: int, frame: FrameType | None) -> None:
    """Leave by the usual way, which removes every container and volume."""
    sys.exit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.bench", description="Measure the system beside its floor.")
    names = [*ON_A_NEW_VOLUME, *ON_A_LONG_LIFE]
    parser.add_argument("--quick", action="store_true", help="a small run of a few minutes")
    parser.add_argument("--only", choices=names, action="append", help="measure only this; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    return parser.parse_args()


def _measured(client: docker.APIClient, size: Size, only: list[str] | None, console: Console) -> Iterator[Figure]:
    for name, measure in ON_A_NEW_VOLUME.items():
        if not only or name in only:
            yield from _told(name, measure(client, size), console)
    wanted = [name for name in ON_A_LONG_LIFE if not only or name in only]
    if not wanted:
        return
    console.print(f"making a volume with {size.finished} finished jobs")
    with long_life(client, size) as life:
        for name in wanted:
            if name != "restart" and life.live_containers():
                end_running(life)
            yield from _told(name, ON_A_LONG_LIFE[name](life, size), console)


def _told(name: str, figures: Iterator[Figure], console: Console) -> Iterator[Figure]:
    began = time.monotonic()
    for figure in figures:
        console.print(f"  {figure.name}: {figure.value:.4g} {figure.unit} {figure.verdict}", highlight=False)
        yield figure
    console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")


def sync_ms() -> float:
    """What making a small file durable costs here: part of whatever is accepted, and no part of the floor."""
    found = []
    with tempfile.TemporaryFile(dir=PARENT) as file:
        for _ in range(50):
            file.write(b"x" * 500)
            began = time.perf_counter()
            file.flush()
            os.fsync(file.fileno())
            found.append((time.perf_counter() - began) * 1000)
    return median(found)


if __name__ == "__main__":
    main()
