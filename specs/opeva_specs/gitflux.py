"""Whether git is changing a work tree right now: files are not acted on meanwhile."""

from datetime import datetime, timedelta
from pathlib import Path
from stat import S_ISREG

STALE = timedelta(minutes=10)
_MARKS = ("index.lock", "rebase-merge", "rebase-apply", "MERGE_HEAD")


def in_flux(git: Path, now: datetime) -> bool:
    """Whether a lock or a half-done merge or rebase lies in that `.git`; one older than 10 minutes does not count."""
    folder = _git_folder(git)
    return folder is not None and any(_is_fresh(folder / mark, now) for mark in _MARKS)


def _git_folder(git: Path) -> Path | None:
    """The folder itself, or the one that a `.git` file of a linked work tree points to; None where there is no git."""
    try:
        if not S_ISREG(git.stat().st_mode):
            return git
        words = git.read_text(errors="replace")[:4096]
    except OSError:
        return None
    return git.parent / words.removeprefix("gitdir:").strip() if words.startswith("gitdir:") else git


def _is_fresh(mark: Path, now: datetime) -> bool:
    try:
        age = now.timestamp() - mark.lstat().st_mtime
    except OSError:
        return False
    return age < STALE.total_seconds()
