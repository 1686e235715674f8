"""What the spec files say of a job: three answers, for "nobody can tell" is one."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Doc:
    """One job in one file."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A file wants this job like this, since `since`."""

    digest: str
    source: str
    source_hash: str
    documents: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """No file wants this job any more, since `since`."""

    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """Nobody can tell now: what was accepted goes on."""

    message: str


Wanted = Present | Absent | Unsure
