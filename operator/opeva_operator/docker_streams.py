"""What Docker sends for as long as it lasts (log frames, lines of JSON), read from an open response.

A stream may be closed from another thread, which wakes the reader and gives the socket back.
"""

import json
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from .engine import JOB, EngineEvent, EngineUnreachable, LogEntry

_HEADER = struct.Struct(">BxxxL")  # which stream, and how many bytes follow
_CHUNK_BYTES = 2**16


class Response(Protocol):
    """The part of an HTTP response that a stream needs."""

    @property
    def raw(self) -> Any: ...
    def close(self) -> None: ...


class Source:
    """Bytes of one response until it ends, breaks, falls silent or is closed; the iteration just ends then."""

    def __init__(self, response: Response, broken: tuple[type[Exception], ...]) -> None:
        self._response = response
        self._broken = broken
        self._chunks: Iterator[bytes] = response.raw.stream(_CHUNK_BYTES, decode_content=False)
        self._reading = threading.Lock()
        self._is_closed = False
        self.is_complete = False  # set when the other side said that this was all

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._next():
            yield chunk

    def _next(self) -> bytes:
        with self._reading:
            if self._is_closed:
                return b""
            try:
                return next(self._chunks)
            except StopIteration:
                self.is_complete = not self._is_closed
            except self._broken:
                pass
            return b""

    def close(self) -> None:
        """Wake a reader that waits, then give the socket back."""
        self._is_closed = True
        try:
            self._response.raw.shutdown()
        except (OSError, ValueError, RuntimeError):
            pass  # the answer was over, the connection is back in the pool
        # A reader that was woken still holds the buffer for a moment.
        with self._reading:
            self._response.close()


class FrameStream:
    """Log entries from Docker's frames: one frame is one entry, its time in front.

    One that must be whole raises EngineUnreachable when it broke before its end.
    """

    def __init__(self, source: Source, *, must_be_whole: bool = False) -> None:
        self._source, self._must_be_whole = source, must_be_whole

    def __iter__(self) -> Iterator[LogEntry]:
        try:
            for payload in frames(self._source):
                at, _, data = payload.partition(b" ")
                yield LogEntry(at=at.decode("ascii"), data=data)
            if self._must_be_whole and not self._source.is_complete:
                raise EngineUnreachable("cannot read the log to its end: the engine went silent, or away")
        finally:
            self.close()

    def close(self) -> None:
        """End the iteration, from whichever thread."""
        self._source.close()


class JsonEvents:
    """Events of containers from lines of JSON."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __iter__(self) -> Iterator[EngineEvent]:
        try:
            for line in lines(self._source):
                event = json.loads(line)
                yield EngineEvent(job=event["Actor"]["Attributes"].get(JOB, ""), action=event["Action"])
        finally:
            self.close()

    def close(self) -> None:
        """End the iteration, from whichever thread."""
        self._source.close()


def keep_alive(sock: socket.socket) -> None:
    """Have a stream end within two minutes when the other machine is gone without a word, however silent it was."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):  # not every system knows all of them
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def first_error(source: Source, timeout_seconds: float) -> str | None:
    """What the lines of a pull complain of; they are read until their end, or until that time is over."""
    deadline = threading.Timer(timeout_seconds, source.close)
    deadline.start()
    try:
        for line in lines(source):
            if words := json.loads(line).get("error"):
                return str(words)
        return None
    finally:
        deadline.cancel()
        source.close()


def frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The payloads of whole frames; half a frame at the end is dropped, the next reader gets it whole."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        start = 0
        while len(held) - start >= _HEADER.size:
            end = start + _HEADER.size + _HEADER.unpack_from(held, start)[1]
            if end > len(held):
                break
            yield bytes(held[start + _HEADER.size : end])
            start = end
        del held[:start]


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines without their ends; half a line at the end is dropped."""
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())
