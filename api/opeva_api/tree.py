"""Tree: what lies in a folder that others write to, listed within bounds and read in pieces; no link is followed."""

import mimetypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from opeva_specs.volume import SharedVolume

MAX_FILES = 10_000
MAX_DEPTH = 16
PIECE_BYTES = 2**20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".log": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "text/yaml; charset=utf-8",
    ".yml": "text/yaml; charset=utf-8",
}
# A page from a job's hands must not run as one of ours, whatever else protects against it.
_ACTIVE = ("html", "xml", "script", "svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file: its path inside the folder it was looked for in, its size, and when it was last written."""

    path: str
    size: int
    modified_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Files in the order of their paths; `is_whole`: there are no more than these."""

    files: tuple[File, ...]
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file as it was when somebody asked for it; it is opened anew for each piece, so none is kept open."""

    path: str
    inode: int
    size: int

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def media_type(self) -> str:
        """What it is, by its name."""
        return type_of(self.name)


def type_of(name: str) -> str:
    """The type of a file, by its suffix."""
    suffix = f".{name.rpartition('.')[2].lower()}"
    found = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return "application/octet-stream" if any(word in found for word in _ACTIVE) else found


def listed(volume: SharedVolume, folder: str, limit: int = MAX_FILES) -> Listing:
    """The files of a folder and of those in it, without links, pipes and the like; raises OSError if it is none."""
    walk = _Walk(limit)
    with volume.folder(folder) as fd:
        walk.gather(fd, "", 0)
    return Listing(files=tuple(sorted(walk.found, key=lambda file: file.path)), is_whole=walk.is_whole)


class _Walk:
    """One listing as it grows; bounded in files, in depth, and in whatever else may lie there."""

    def __init__(self, limit: int) -> None:
        self.found: list[File] = []
        self.is_whole = True
        self._limit, self._left = limit, 4 * limit + 100

    def gather(self, fd: int, prefix: str, depth: int) -> None:
        """Add what lies in an open folder."""
        folders = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0 or len(self.found) >= self._limit:
                    self.is_whole = False
                    return
                if self._take(entry, prefix):
                    folders.append(entry.name)
        for name in sorted(folders):
            self._enter(fd, name, f"{prefix}{name}/", depth + 1)

    def _take(self, entry: os.DirEntry[str], prefix: str) -> bool:
        """Add a plain file; true of a folder, which is to be entered."""
        if not entry.name.isprintable():  # bytes that are no UTF-8 too: nobody could ask for it
            return False
        try:
            about = entry.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            return False
        if stat.S_ISREG(about.st_mode):
            self.found.append(File(path=prefix + entry.name, size=about.st_size, modified_at=about.st_mtime))
        return stat.S_ISDIR(about.st_mode)

    def _enter(self, fd: int, name: str, prefix: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.is_whole = False
            return
        try:
            inner = os.open(name, _FOLDER, dir_fd=fd)
        except OSError:  # gone, or turned into a link meanwhile
            return
        try:
            self.gather(inner, prefix, depth)
        finally:
            os.close(inner)


def opened(volume: SharedVolume, path: str) -> Download:
    """The file at that path below the root; raises OSError when there is none, or it is no plain file."""
    fd = volume.open(path)
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    return Download(path=path, inode=found.st_ino, size=found.st_size)


def piece(volume: SharedVolume, download: Download, start: int) -> bytes:
    """The next bytes of the file, empty at the end it had at first; raises OSError when another took its place."""
    fd = volume.open(download.path)
    try:
        if os.fstat(fd).st_ino != download.inode:
            raise OSError("was replaced while it was read")
        return os.pread(fd, min(PIECE_BYTES, download.size - start), start)
    finally:
        os.close(fd)


def pieces(volume: SharedVolume, download: Download) -> Iterator[bytes]:
    """All of the file, piece by piece."""
    start = 0
    while start < download.size:
        found = piece(volume, download, start)
        if not found:
            raise OSError("became shorter while it was read")
        start += len(found)
        yield found
