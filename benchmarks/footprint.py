"""Footprint: memory, and the CPU that nothing to do costs, of both processes on a long history."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.report import Figure
from benchmarks.size import Size
from benchmarks.stage import Running
from benchmarks.volume import LongLife

OPERATOR_MB, API_MB = 110.0, 130.0
IDLE_PERCENT = 1.0


def measure(life: LongLife, size: Size) -> Iterator[Figure]:
    """Resident memory after a quiet while, and CPU time over another one."""
    note = f"{len(life.finished)} finished jobs"
    with life.stage.operator() as operator, life.stage.api() as api:
        found = at_rest({"operator": operator, "API": api}, size)
    for who, most in (("operator", OPERATOR_MB), ("API", API_MB)):
        memory, idle = found[who]
        yield Figure(name=f"{who}: resident memory", value=memory, unit="MB", target=most, note=note)
        words = f"{size.idle_seconds:.0f} s"
        yield Figure(name=f"{who}: CPU when idle", value=idle, unit="%", target=IDLE_PERCENT, note=words)


def at_rest(processes: Mapping[str, Running], size: Size) -> dict[str, tuple[float, float]]:
    """The resident MB of each process, and the share of one CPU (in %) that it takes while nothing happens."""
    pids = {who: running.process.pid for who, running in processes.items()}
    time.sleep(size.quiet_seconds)
    before = {who: cpu_seconds(pid) for who, pid in pids.items()}
    began = time.perf_counter()
    time.sleep(size.idle_seconds)
    seconds = time.perf_counter() - began
    return {who: (resident_mb(pid), 100 * (cpu_seconds(pid) - before[who]) / seconds) for who, pid in pids.items()}


def resident_mb(pid: int) -> float:
    """VmRSS of a process, in millions of bytes."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"cannot tell the memory of process {pid}: it has ended")
    return int(found[1]) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
