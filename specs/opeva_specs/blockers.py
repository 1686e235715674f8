"""What a person is told of a job that waits for room or for its turn: one sentence, what would end it, and figures."""

from typing import Literal, NamedTuple

from opeva_specs.room import Shortage
from opeva_specs.status import Reason
from opeva_specs.terms import Blocker


class Names(NamedTuple):
    """The first names of so many jobs."""

    first: list[str]
    number: int

    def __str__(self) -> str:
        more = self.number - len(self.first)
        return ", ".join(self.first) + (f" and {counted(more, 'other')}" if more else "")


class Lead(NamedTuple):
    """By what the first of others comes before a job, with the two figures that tell it."""

    by: Literal["priority", "user", "time"]
    theirs: int = 0
    mine: int = 0


def shortage(host: str, short: Shortage, holders: Names) -> Blocker:
    """Others have what the job needs."""
    return Blocker(
        kind=short.kind,
        message=_shortage(host, short, holders.number),
        unblocks=_end_of(holders) if short.total > 0 else "whoever runs the server lets the host take jobs again",
        details={
            "host": host,
            "needed": short.needed,
            "free": max(short.left, 0),
            "total": short.total,
            "short": short.needed - short.left,
        },
    )


def _shortage(host: str, short: Shortage, running: int) -> str:
    if short.total <= 0:
        return f"{host!r} takes no jobs at present"
    if short.kind == Reason.AT_CAPACITY:
        return f"{counted(running, 'job')} {_run(running)} on {host!r}, which takes {short.total} at once"
    left, total = _there(short.kind, max(short.left, 0)), _there(short.kind, short.total)
    return f"needs {_wanted(short.kind, short.needed)}, but running jobs leave {left} of the {total} on {host!r}"


def too_large(host: str, short: Shortage) -> Blocker:
    """The host has less than the job needs, even when nothing runs."""
    has = f"has only {_there(short.kind, short.total)} for all jobs together" if short.total else "has none"
    return Blocker(
        kind=Reason.TOO_LARGE,
        message=f"needs {_wanted(short.kind, short.needed)}, and {host!r} {has}",
        unblocks="its spec asks for less or names another host, or whoever runs the server gives this one more",
        details={
            "host": host,
            "what": short.kind,
            "needed": short.needed,
            "total": short.total,
            "short": short.needed - short.total,
        },
    )


def user_cap(user: str, limit: int, running: Names) -> Blocker:
    """The user has as many jobs running as one user may."""
    whose = f"of {user!r}" if user else "without submittedBy (which count as one user's)"
    number = running.number
    return Blocker(
        kind=Reason.USER_CAP,
        message=f"{counted(number, 'job')} {whose} {_run(number)} already, and one user may run {limit} at once",
        unblocks=_end_of(running),
        details={"user": user, "running": number, "limit": limit},
    )


def ahead(others: Names, lead: Lead) -> Blocker:
    """Others would take what the job needs before it does."""
    is_one = others.number == 1
    goes = "goes" if is_one else "go"
    return Blocker(
        kind=Reason.AHEAD,
        message=f"{counted(others.number, 'job')} {goes} first: {others}; {_because(others, lead)}",
        unblocks=f"{'it starts or leaves' if is_one else 'they start or leave'} the queue",
        details={"count": others.number, "first": others.first[0], "names": others.first, **lead._asdict()},
    )


def _because(others: Names, lead: Lead) -> str:
    which = "it" if others.number == 1 else "the first of them"
    match lead.by:
        case "priority":
            return f"{which} has a higher priority ({lead.theirs} over {lead.mine})"
        case "user":
            whose = "its user" if others.number == 1 else "the user of the first"
            return f"{whose} has fewer jobs running ({lead.theirs} against {lead.mine})"
        case "time":
            return f"{which} has waited longer"


def reserved(head: str, passed: int) -> Blocker:
    """Smaller jobs have passed the head of the line often enough."""
    often = "once" if passed == 1 else f"{passed} times"
    why = f"smaller jobs passed it {often}, and no more may" if passed else "no job may pass the first one"
    return Blocker(
        kind=Reason.RESERVED,
        message=f"what comes free is kept for {head!r}, the first in the queue: {why}",
        unblocks=f"{head!r} starts or leaves the queue",
        details={"for": head, "passed": passed},
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s when there are several."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _run(count: int) -> str:
    return "runs" if count == 1 else "run"


def _end_of(running: Names) -> str:
    return f"{'this job ends' if running.number == 1 else 'enough of these jobs end'}: {running}"


def _wanted(kind: Reason, number: int) -> str:
    """Rounded up, as `_there` rounds down: too little never reads as enough."""
    if kind == Reason.MEMORY:
        return f"{_size(number, up=True)} of memory"
    if kind == Reason.CPU:
        return f"{_cores(number, up=True)} CPU{'' if number == 10**9 else 's'}"
    return counted(number, "GPU")


def _there(kind: Reason, number: int) -> str:
    if kind == Reason.MEMORY:
        return _size(number, up=False)
    return _cores(number, up=False) if kind == Reason.CPU else str(number)


def _cores(nano: int, *, up: bool) -> str:
    return _decimal(nano, 10**9, 3, up=up)


def _size(number: int, *, up: bool) -> str:
    for unit, factor in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if number >= factor:
            return _decimal(number, factor, 2, up=up) + unit
    return counted(number, "byte")


def _decimal(number: int, factor: int, places: int, *, up: bool) -> str:
    """The quotient with at most so many decimals; in whole numbers, as a float of this size may be off."""
    scale = 10**places
    scaled = -(-number * scale // factor) if up else number * scale // factor
    whole, rest = divmod(scaled, scale)
    return f"{whole}.{rest:0{places}}".rstrip("0").rstrip(".") if rest else str(whole)
