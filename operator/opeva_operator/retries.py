"""Whether a run that failed is tried again: pure.

A failure is charged either to the user, whose budget is the spec's backoffLimit, or to the server, which has a budget
of its own. What ran may run again only where the spec allows retries at all.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from opeva_specs.status import JobStatus, Reason

USERS = frozenset({Reason.EXIT_NON_ZERO, Reason.OUT_OF_MEMORY, Reason.DEADLINE_EXCEEDED, Reason.STALLED})
SERVERS = frozenset({Reason.ENGINE_RESTART, Reason.HOST_REBOOT, Reason.CONTAINER_LOST})
CHARGED = USERS | SERVERS
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=6)
_SPREAD = 0.2  # so much of a pause is left to chance, so that many jobs do not come back at one moment


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt follows after a pause; `words` say which one of how many."""

    after: timedelta
    words: str


@dataclass(frozen=True, slots=True)
class Enough:
    """No other attempt follows; `is_exhausted` when there were some."""

    is_exhausted: bool = False


def verdict(status: JobStatus, reason: str, exit_code: int | None, server_retries: int) -> Again | Enough:
    """What follows when the present attempt fails for that reason."""
    terms = status.status.terms
    is_users, is_servers = reason in USERS, reason in SERVERS
    if terms.backoff_limit == 0 or not (is_users or is_servers):
        return Enough()
    if is_users and reason in (Reason.EXIT_NON_ZERO, Reason.OUT_OF_MEMORY) and not _is_worth(status, exit_code):
        return Enough()
    charged = USERS if is_users else SERVERS
    mine = [a for a in status.status.attempts if a.generation == status.metadata.generation and not a.is_open]
    failures = 1 + sum(a.reason in charged for a in mine)
    limit = terms.backoff_limit if is_users else server_retries
    if failures > limit:
        return Enough(is_exhausted=limit > 0)
    tries = 1 + sum(a.reason in CHARGED for a in mine)
    whose = "retry" if is_users else "retry after a failure of the server"
    return Again(pause(tries, _chance(status, tries)), f"{whose} {failures} of {limit}")


def pause(failures: int, chance: float) -> timedelta:
    """How long to wait after so many failures: 10 s, doubling to 6 minutes; `chance` from 0 to 1 shortens it."""
    longest: timedelta = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
    return longest * (1 - _SPREAD * chance)


def _is_worth(status: JobStatus, exit_code: int | None) -> bool:
    terms = status.status.terms
    if exit_code in terms.fail_on:
        return False
    return terms.retry_on is None or exit_code in terms.retry_on


def _chance(status: JobStatus, tries: int) -> float:
    """A number from 0 to 1 that is another one for each job and try, and always the same for one."""
    text = f"{status.metadata.name} {status.metadata.generation} {tries}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
