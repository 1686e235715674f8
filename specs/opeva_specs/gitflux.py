"""Whether git is changing a work tree right now: files are not acted on meanwhile."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_ISREG

STALE = timedelta(minutes=10)
_MARKS = ("index.lock", "rebase-merge", "rebase-apply", "MERGE_HEAD")


def in_flux(git: Path, now: datetime) -> bool:
    """Whether a lock or a half-done merge or rebase lies in that `.git`; one older than 10 minutes does not count."""
    return any(age < STALE for _, age in _marks(git, now))


def stale_marks(git: Path, now: datetime) -> list[str]:
    """Names of what lies in that `.git` as if git were at work, but has for so long that it does not count."""
    return [mark for mark, age in _marks(git, now) if age >= STALE]


def _marks(git: Path, now: datetime) -> Iterator[tuple[str, timedelta]]:
    folder = _git_folder(git)
    if folder is None:
        return
    for mark in _MARKS:
        try:
            age = now.timestamp() - (folder / mark).lstat().st_mtime
        except OSError:
            continue
        yield mark, timedelta(seconds=age)


def _git_folder(git: Path) -> Path | None:
    """The folder itself, or the one that a `.git` file of a linked work tree points to; None where there is no git."""
    try:
        if not S_ISREG(git.stat().st_mode):
            return git
        words = git.read_text(errors="replace")[:4096]
    except OSError:
        return None
    return git.parent / words.removeprefix("gitdir:").strip() if words.startswith("gitdir:") else git
