"""Archive: zip files, unpacked with mistrust and packed as a stream; both in small steps, off the event loop."""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import IO

from fastapi import HTTPException

from opeva_api import tree
from opeva_specs.volume import SharedVolume

MAX_ENTRIES = tree.MAX_FILES
_MAX_NAME_BYTES = 255
STEP_BYTES = 2**20
_JUNK = ("__MACOSX/", ".DS_Store")  # what macOS adds by itself
_END, _LARGE_END = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _MAX_COMMENT = 22, 65535
_DIRECTORY_BYTES = 8 * 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def checked_path(name: str) -> str:
    """The path of a file inside a data set; raises 400 for one that leads elsewhere or nobody could write."""
    parts = name.split("/")
    is_good = name.isprintable() and "\\" not in name and len(parts) <= tree.MAX_DEPTH
    if not is_good or any(part in ("", ".", "..") or len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        raise HTTPException(400, f"cannot take a file named {name[:80]!r}: use relative paths without '..' and '\\'")
    return name


def is_zip(volume: SharedVolume, path: str) -> bool:
    """Whether a file begins as a zip file does."""
    with os.fdopen(volume.open(path), "rb") as file:
        return file.read(4) in (b"PK\x03\x04", _END)


def unpacked(volume: SharedVolume, source: str, target: str, limit: int) -> Iterator[None]:
    """Unpack a zip file into a folder, step by step; raises 400 or 413 when it is not to be trusted."""
    with os.fdopen(volume.open(source), "rb") as file:
        _check_directory(file)
        try:
            with zipfile.ZipFile(file) as archive:
                yield from _entries(volume, archive, target, limit)
        except _BROKEN as error:
            raise HTTPException(400, f"cannot unpack the zip file: {str(error)[:200]}") from error


def _check_directory(file: IO[bytes]) -> None:
    """Refuse what lists more than we would ever unpack, before the list is read into memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES - _MAX_COMMENT))
    tail = file.read()
    is_plain = tail[-_END_BYTES:].startswith(_END) and tail.endswith(b"\0\0")
    at = len(tail) - _END_BYTES if is_plain else tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise HTTPException(400, "cannot unpack the zip file: it is cut off, or no zip file")
    count, length = struct.unpack_from("<H", tail, at + 10)[0], struct.unpack_from("<L", tail, at + 12)[0]
    if count > MAX_ENTRIES or length > _DIRECTORY_BYTES or tail[max(0, at - 20) : at].startswith(_LARGE_END):
        raise HTTPException(400, f"the zip file holds more than {MAX_ENTRIES} files")
    file.seek(0)


def _entries(volume: SharedVolume, archive: zipfile.ZipFile, target: str, limit: int) -> Iterator[None]:
    entries = [info for info in archive.infolist() if not info.is_dir() and not _is_junk(info.filename)]
    for info in entries:
        _check_entry(info)
    top = _common_top(entries)
    left = limit
    for info in entries:
        path = f"{target}/{info.filename.removeprefix(top)}"
        with archive.open(info) as packed, closing(_created(volume, path)) as file:
            while data := packed.read(STEP_BYTES):
                left -= len(data)
                if left < 0:  # counted here, for what an entry says of its size need not be true
                    raise HTTPException(413, f"the data set would be larger than {limit} bytes")
                file.write(data)
                yield
            file.flush()
            os.fsync(file.fileno())
        yield


def _check_entry(info: zipfile.ZipInfo) -> None:
    checked_path(info.filename)
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise HTTPException(400, f"the zip file holds {info.filename[:80]!r}, which is a link or no plain file")


def _common_top(entries: list[zipfile.ZipInfo]) -> str:
    """The folder that everything lies in, if it is one; people pack folders, and mean what is in them."""
    tops = {info.filename.partition("/")[0] if "/" in info.filename else "" for info in entries}
    top = tops.pop() if len(tops) == 1 else ""
    return f"{top}/" if top else ""


def _is_junk(name: str) -> bool:
    return name.startswith(_JUNK[0]) or name.rpartition("/")[2] == _JUNK[1]


def _created(volume: SharedVolume, path: str) -> IO[bytes]:
    try:
        with volume.folder(path.rpartition("/")[0], create=True):
            return os.fdopen(volume.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise HTTPException(400, f"the file {path.rpartition('/')[2][:80]!r} stands there twice") from error


class _Pipe:
    """Takes what a zip file is written as; it cannot be wound back, so nothing needs to be kept."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits anywhere."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        found = b"".join(self._parts)
        self._parts.clear()
        return found


def packed(volume: SharedVolume, folder: str, files: Iterable[tree.File]) -> Iterator[bytes]:
    """A zip file of these files of a folder, piece by piece; a file that is gone meanwhile is left out."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # type: ignore[call-overload]
        for file in files:
            try:
                download = tree.opened(volume, f"{folder}/{file.path}")
            except OSError:
                continue
            with archive.open(_info(file), "w", force_zip64=file.size >= 2**31) as entry:
                for data in tree.pieces(volume, download):
                    entry.write(data)
                    yield pipe.taken()
    yield pipe.taken()


def _info(file: tree.File) -> zipfile.ZipInfo:
    at = datetime.fromtimestamp(max(file.modified_at, 315532800.0), UTC)  # zip knows no time before 1980
    info = zipfile.ZipInfo(file.path, (at.year, at.month, at.day, at.hour, at.minute, at.second))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info
