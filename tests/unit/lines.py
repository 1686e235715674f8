"""Lines and those who stand in them, briefly written."""

from datetime import UTC, datetime, timedelta

from opeva_specs.admission import Capacity, Claim, Line
from opeva_specs.terms import Blocker, Demand

CORE, GI = 10**9, 2**30
DAWN = datetime(2026, 1, 1, tzinfo=UTC)
ROOMY = Capacity(jobs=9, cpu=8 * CORE, memory=16 * GI, gpu=2)


def claim(
    name: str,
    minute: int = 0,
    *,
    cpu: float = 1,
    memory: float = 0,
    gpu: int = 0,
    user: str = "anna",
    priority: int = 0,
    host: str = "local",
) -> Claim:
    return Claim(
        name=name,
        host=host,
        queued_at=DAWN + timedelta(minutes=minute),
        priority=priority,
        user=user,
        demand=Demand(cpu=round(cpu * CORE), memory=round(memory * GI), gpu=gpu),
    )


def line_of(*waiting: Claim, running: tuple[Claim, ...] = (), capacity: Capacity = ROOMY, per_user: int = 0) -> Line:
    line = Line({"local": capacity}, per_user=per_user, max_bypass=2)
    for one in running:
        line.occupy(one)
    for one in waiting:
        line.wait(one)
    return line


def started(line: Line, host: str = "local") -> list[str]:
    """Those who start now, one after the other."""
    names = []
    while (name := line.turn(host)) is not None:
        assert line.admit(name)
        names.append(name)
    return names


def told(line: Line, name: str) -> dict[str, Blocker]:
    return {str(blocker.kind): blocker for blocker in line.hindrances(name)}
