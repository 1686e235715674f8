"""LogFiles: which log of a job is shown, and the reading of it in bounded pieces.

A job writes its own log; what it prints is captured beside it. One of the two is shown, and while an attempt lasts it
stays the same one, so that offsets keep their meaning. Bytes that are no UTF-8 become one `?` each: what is sent is as
long as what lies in the file, so that a client may count offsets in what it received.
"""

import codecs
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from opeva_api.jobfiles import Run, is_of_an_earlier_run, run_of
from opeva_api.recent import Recent
from opeva_api.record import Record
from opeva_specs.volume import SharedVolume

CHUNK_BYTES = 256 * 1024
MAX_TAIL_BYTES = 8 * 2**20
_BLOCK = 64 * 1024
_CAPTURED = "logs/container.log"
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

Source = Literal["own", "captured"]


def _one_each(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("opeva.one-each", _one_each)


class Cleaner:
    """Turns pieces of a file into UTF-8 of the same length; never cuts a character."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("opeva.one-each")

    def clean(self, data: bytes, *, is_last: bool = False) -> bytes:
        """The piece, without the beginning of a character whose end is not there yet."""
        return self._decoder.decode(data, is_last).encode()

    @property
    def held(self) -> int:
        """How many bytes of an unfinished character are held back."""
        return len(self._decoder.getstate()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some bytes of a log: the first chunk of what lies between `start` and `end`, as it stands in the file."""

    name: str
    inode: int
    start: int
    end: int
    is_reset: bool
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A bounded part of a log as text, and where the next one begins; truncated: not all that was asked for."""

    text: bytes
    next_offset: int
    is_truncated: bool
    is_reset: bool


class LogFiles:
    """The logs of all jobs of a volume. No file is kept open between two looks."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume
        self._chosen: Recent[Run, str] = Recent(8192)

    def look(self, record: Record, wanted: Source | None, offset: int | None, tail: int | None) -> Piece | None:
        """The beginning of what is asked for, up to the log's present end; None while no log has anything in it."""
        told = record.told()
        if is_of_an_earlier_run(told, record):
            return None
        for name in self._names(told, record, wanted, is_continued=bool(offset)):
            fd = self._opened(record.job_id, name)
            if fd is None:
                continue
            try:
                piece = _first(fd, name, offset, tail, is_growing=not record.is_ended)
            finally:
                os.close(fd)
            if wanted is None and not record.is_ended:
                self._chosen.keep(run_of(told), name)
            return piece
        return None

    def chunk(self, record: Record, offset: int | None, lines: int, limit: int) -> Chunk | None:
        """What follows `offset`, or the last lines without one; at most `limit` bytes. None while there is no log."""
        piece = self.look(record, None, offset, lines if offset is None else None)
        is_reset = piece is not None and piece.is_reset
        if is_reset:  # the log is another one now: what a viewer has is worth nothing
            offset, piece = None, self.look(record, None, None, lines)
        if piece is None:
            return None
        start = piece.start if offset is not None else max(piece.start, piece.end - limit)
        end = min(piece.end, start + limit)
        data = self._between(record, piece, start, end)
        cut = 0 if start == piece.start else _cut_of(data)
        text = Cleaner().clean(data[cut:], is_last=record.is_ended and end == piece.end)
        next_offset = start + cut + len(text)
        is_truncated = start > piece.start or end < piece.end or is_reset
        return Chunk(text=text, next_offset=next_offset, is_truncated=is_truncated, is_reset=is_reset)

    def _between(self, record: Record, piece: Piece, start: int, end: int) -> bytes:
        found = b""
        while start + len(found) < end:
            more = self.more(record, piece, start + len(found), end)
            if not more:
                break
            found += more
        return found

    def more(self, record: Record, piece: Piece, start: int, end: int | None) -> bytes | None:
        """The next chunk of the same log, empty at its end; None when the log was replaced by another."""
        fd = self._opened(record.job_id, piece.name)
        if fd is None:
            return None
        try:
            found = os.fstat(fd)
            if found.st_ino != piece.inode or found.st_size < start:
                return None
            stop = found.st_size if end is None else min(end, found.st_size)
            return os.pread(fd, min(stop - start, CHUNK_BYTES), start)
        finally:
            os.close(fd)

    def _names(
        self, told: Mapping[str, Any], record: Record, wanted: Source | None, *, is_continued: bool
    ) -> list[str]:
        names = _candidates(told, wanted)
        if wanted is not None or (record.is_ended and not is_continued):
            return names
        chosen = self._chosen.get(run_of(told))
        return names if chosen is None else [chosen, *names]

    def _opened(self, job_id: str, name: str) -> int | None:
        """A descriptor of the log if it has anything in it; a planted link, pipe or folder counts as no log."""
        try:
            fd = self._volume.open(f"jobs/{job_id}/{name}")
        except OSError:
            return None
        if os.fstat(fd).st_size > 0:
            return fd
        os.close(fd)
        return None


def _candidates(told: Mapping[str, Any], wanted: Source | None) -> list[str]:
    """Names of logs, best first."""
    run_ids = (told["job_info"].get(key) for key in ("mlflow_run_id", "run_id"))
    names = [told["job_id"], *(r for r in run_ids if isinstance(r, str) and _RUN_ID.fullmatch(r)), "runtime"]
    own = list(dict.fromkeys(f"logs/{name}.log" for name in names))
    match wanted:
        case "own":
            return [name for name in own if name != _CAPTURED]
        case "captured":
            return [_CAPTURED]
        case None:
            return [*own, _CAPTURED]


def _first(fd: int, name: str, offset: int | None, tail: int | None, *, is_growing: bool) -> Piece:
    found = os.fstat(fd)
    end = _end_of_characters(fd, found.st_size) if is_growing else found.st_size
    is_reset = offset is not None and offset > found.st_size
    start = 0 if is_reset else min(offset or 0, end)
    if tail is not None:
        start = _start_of_tail(fd, tail, end)
    data = os.pread(fd, min(end - start, CHUNK_BYTES), start)
    return Piece(name=name, inode=found.st_ino, start=start, end=end, is_reset=is_reset, data=data)


def _start_of_tail(fd: int, lines: int, end: int) -> int:
    """Where the last `lines` lines before `end` begin; looks back over a bounded number of bytes."""
    floor = max(end - MAX_TAIL_BYTES, 0)
    # A newline at the very end ends the last line; it does not begin another.
    wanted = lines + (end > 0 and os.pread(fd, 1, end - 1) == b"\n")
    position = end
    while position > floor:
        start = max(position - _BLOCK, floor)
        block = os.pread(fd, position - start, start)
        found = block.count(b"\n")
        if found >= wanted:
            return start + _nth_from_end(block, wanted) + 1
        wanted -= found
        position = start
    return _start_of_character(fd, floor)


def _nth_from_end(block: bytes, n: int) -> int:
    at = len(block)
    for _ in range(n):
        at = block.rindex(b"\n", 0, at)
    return at


def _start_of_character(fd: int, offset: int) -> int:
    return offset + _cut_of(os.pread(fd, 3, offset) if offset else b"")


def _cut_of(data: bytes) -> int:
    """How many bytes of a character whose beginning lies before stand at the start."""
    ahead = data[:3]
    return next((i for i, byte in enumerate(ahead) if byte & 0xC0 != 0x80), len(ahead))


def _end_of_characters(fd: int, size: int) -> int:
    """The end without a last character of which only the beginning is written."""
    behind = os.pread(fd, min(size, 3), max(size - 3, 0))
    cleaner = Cleaner()
    cleaner.clean(behind)
    return size - cleaner.held
