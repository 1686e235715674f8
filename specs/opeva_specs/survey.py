"""One look at folders: what lies in them, what of it counts, and whether their file system tells of changes."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_SIDE_FILES = ("~", ".tmp", ".swp", ".bak", ".orig", "___jb_tmp___", "___jb_old___")
_REMOTE_TYPES = frozenset(("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "lustre", "vboxsf", "fakeowner"))


class Folder(NamedTuple):
    """What one look at a folder tells; `changed_at_ns` is the kernel's clock, which nobody can set by hand."""

    mtime_ns: int
    inode: int
    changed_at_ns: int
    inner: tuple[str, ...]


def is_ignored(path: Path) -> bool:
    """Whether a path, relative to the watched folder, is hidden, or a side file of an editor, and never of interest."""
    return path.name == "4913" or any(_is_side_file(part) for part in path.parts)


def is_ignored_name(name: str) -> bool:
    """The same of one name, which need not be made a path first."""
    return name == "4913" or _is_side_file(name)


def _is_side_file(name: str) -> bool:
    return name.startswith(".") or name.endswith(_SIDE_FILES) or (name.startswith("#") and name.endswith("#"))


def remote_type(mountinfo: str, device: int) -> str | None:
    """The type of the file system with this device number if it can change without this kernel knowing, else None."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == wanted:
            kind = source.split()[0]
            return kind if kind in _REMOTE_TYPES or kind.startswith("fuse.") else None
    return None


def survey(roots: Iterable[str], known: Mapping[str, Folder], skips: Callable[[str], bool]) -> dict[str, Folder]:
    """Look at some folders and all folders in them; only those that changed since `known` are listed anew."""
    found: dict[str, Folder] = {}
    todo = list(roots)
    while todo:
        path = todo.pop()
        try:
            now = os.lstat(path)
            was = known.get(path)
            if was is None or (was.mtime_ns, was.inode) != (now.st_mtime_ns, now.st_ino):
                was = Folder(now.st_mtime_ns, now.st_ino, now.st_ctime_ns, _inner_folders(path, skips))
        except OSError:  # gone, or unreadable: whoever looks there will tell why
            continue
        found[path] = was
        todo.extend(was.inner)
    return found


def _inner_folders(path: str, skips: Callable[[str], bool]) -> tuple[str, ...]:
    with os.scandir(path) as entries:
        return tuple(entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and not skips(entry.path))


def files_in(folders: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Size, mtime and inode of every file that lies directly in one of the folders."""
    found: dict[str, tuple[int, int, int]] = {}
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    now = entry.stat(follow_symlinks=False)
                    found[entry.path] = (now.st_size, now.st_mtime_ns, now.st_ino)
    return found


def differs(was: Folder | None, now: Folder) -> bool:
    """Whether something was created, removed or renamed in the folder between two looks."""
    return was is None or (was.mtime_ns, was.inode) != (now.mtime_ns, now.inode)


def identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another of the same name; None when there is none, or only a link."""
    try:
        now = folder.lstat()
    except OSError:
        return None
    return (now.st_dev, now.st_ino) if stat.S_ISDIR(now.st_mode) else None
