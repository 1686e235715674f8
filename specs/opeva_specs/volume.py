"""SharedVolume: every path of the shared folder, and opens that no planted link can lead astray.

Jobs may write below `jobs/<own id>` and may plant symbolic links there, so every component of every path below the
root is opened with O_NOFOLLOW, for reading and for writing.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("specs", "specs/api", "control", "status", "rejected", "state", "state/jobs", "jobs", "configs", "datasets")
SENTINEL = ".opeva"
_PIECE = 64 * 1024
_SCRAP = re.compile(r"\..+\.[0-9a-f]{8}~", re.DOTALL)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class SharedVolume:
    """The layout of the shared folder; paths are relative to `root` and use `/`."""

    root: Path

    @property
    def specs(self) -> Path:
        """Desired state."""
        return self.root / "specs"

    @property
    def control(self) -> Path:
        """Wishes."""
        return self.root / "control"

    @property
    def status(self) -> Path:
        """Observed state."""
        return self.root / "status"

    @property
    def rejected(self) -> Path:
        """Why files cannot be accepted."""
        return self.root / "rejected"

    @property
    def jobs(self) -> Path:
        """What jobs write."""
        return self.root / "jobs"

    def make_folders(self) -> None:
        """Create whatever is missing of the layout."""
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def folder(self, relative: str, *, create: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the root, reached without following any link."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in _parts(relative):
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=fd)
                inner = os.open(part, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)

    def open(self, relative: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
        """Open a regular file below the root; raises OSError for links, pipes, devices and folders."""
        parent, name = _split(relative)
        with self.folder(parent) as folder_fd:
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=folder_fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "is not a regular file", relative)
        return fd

    def read(self, relative: str, limit: int) -> bytes:
        """The bytes of a file of at most `limit` bytes; raises OSError (EFBIG when it is larger)."""
        fd = self.open(relative)
        with os.fdopen(fd, "rb") as file:
            # Asking for the limit would reserve that much memory for the smallest file.
            data = file.read(min(os.fstat(fd).st_size, limit) + 1)
            while len(data) <= limit and (more := file.read(_PIECE)):
                data += more
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"is larger than {limit} bytes", relative)
        return data

    def write(self, relative: str, data: bytes, *, durable: bool, mode: int = 0o644) -> None:
        """Replace a file as a whole; `durable` survives a power cut once this returns.

        Two syncs when durable (the file, its folder), none otherwise. On failure the old file stands.
        """
        parent, name = _split(relative)
        with self.folder(parent, create=True) as folder_fd:
            temporary = f".{name[:200]}.{secrets.token_hex(4)}~"  # as `is_scrap` knows it
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=folder_fd)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                    file.flush()
                    if durable:
                        os.fsync(fd)
                os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder_fd)
                raise
            if durable:
                os.fsync(folder_fd)

    def append(self, relative: str, data: bytes, *, durable: bool = False) -> None:
        """Add to the end of a file, creating it when missing."""
        parent, _ = _split(relative)
        with self.folder(parent, create=True):
            fd = self.open(relative, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(fd)

    def remove(self, relative: str, *, durable: bool = False) -> None:
        """Remove a file or a link; it is fine when it is gone already."""
        parent, name = _split(relative)
        try:
            with self.folder(parent) as folder_fd:
                os.unlink(name, dir_fd=folder_fd)
                if durable:
                    os.fsync(folder_fd)
        except FileNotFoundError:
            return

    def rename(self, relative: str, target: str) -> None:
        """Move a file or folder to another place below the root."""
        (from_parent, from_name), (to_parent, to_name) = _split(relative), _split(target)
        with self.folder(from_parent) as from_fd, self.folder(to_parent, create=True) as to_fd:
            os.rename(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)

    def remove_tree(self, relative: str) -> None:
        """Remove a folder with all that is in it, following no link; fine when it is gone already."""
        parent, name = _split(relative)
        try:
            with self.folder(parent) as folder_fd:
                shutil.rmtree(name, dir_fd=folder_fd)
        except FileNotFoundError:
            return

    def displace(self, relative: str, *, is_folder: bool) -> bool:
        """Rename what stands at that path if it is neither a plain file nor a folder, as it should be."""
        parent, name = _split(relative)
        try:
            with self.folder(parent) as folder_fd:
                mode = os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode):
                    return False
                aside = f"{name[:200]}.displaced-{secrets.token_hex(4)}"
                os.rename(name, aside, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
                return True
        except OSError:
            return False

    def exists(self, relative: str) -> bool:
        """Whether there is something of that name; raises OSError when that cannot be told."""
        parent, name = _split(relative)
        try:
            with self.folder(parent) as folder_fd:
                os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def free_bytes(self) -> int:
        """Bytes left for files on the volume."""
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize


def is_scrap(name: str) -> bool:
    """Whether a file has the name of a write that is under way, or was when its process died."""
    return _SCRAP.fullmatch(name) is not None


def _parts(relative: str) -> list[str]:
    parts = [part for part in relative.split("/") if part not in ("", ".")]
    if relative.startswith("/") or ".." in parts or "\x00" in relative:
        raise OSError(errno.EINVAL, "leads out of the shared folder", relative)
    return parts


def _split(relative: str) -> tuple[str, str]:
    parts = _parts(relative)
    if not parts:
        raise OSError(errno.EINVAL, "names no file", relative)
    return "/".join(parts[:-1]), parts[-1]
