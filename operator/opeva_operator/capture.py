"""Capture: a job's output into `logs/container.log`, from the first byte to the last, and not one of them twice.

A checkpoint (an offset in the file, and the engine's time of the entry before it) is kept in `state/`. To go on, all
entries after the checkpoint's time are asked for again, and as many bytes of them as stand behind its offset already
are passed over. The engine may repeat entries when it rotates its own log: they are told by time and content.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import orjson

from opeva_operator.engine import Engine, EngineError, LogEntry, LogStream
from opeva_specs.volume import SharedVolume

logger = logging.getLogger(__name__)

REMEMBERED = 8192  # entries; the engine repeats at most what one of its log files holds
CHECKPOINT_BYTES = 256 * 1024
EVIDENCE_BYTES = 4096
EVIDENCE_LINES = 5
PATIENCE = timedelta(seconds=10)
STOP_SECONDS = 1.0  # for all followers together, however many there are


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything up to `since` stands in the first `offset` bytes of the file."""

    container_id: str
    offset: int = 0
    since: str | None = None


@dataclass(slots=True)
class _Follower:
    """A thread that writes what a running container says."""

    thread: threading.Thread
    stream: LogStream | None = None
    is_over: bool = False


@dataclass(slots=True)
class _Seen:
    """The newest entries, to know a repetition."""

    order: deque[tuple[str, int, int]] = field(default_factory=deque)
    keys: set[tuple[str, int, int]] = field(default_factory=set)
    line: tuple[str, int] | None = None  # the time of a line that has not ended yet, and its pieces so far

    def is_new(self, entry: LogEntry) -> bool:
        """Whether the entry was not seen before; takes note of it. Pieces of one line share their time."""
        piece = self.line[1] + 1 if self.line is not None and self.line[0] == entry.at else 0
        self.line = None if entry.data.endswith(b"\n") else (entry.at, piece)
        key = (entry.at, piece, hash(entry.data))
        if key in self.keys or (len(self.order) >= REMEMBERED and key < self.order[0]):
            return False
        if len(self.order) >= REMEMBERED:
            self.keys.discard(self.order.popleft())
        self.order.append(key)
        self.keys.add(key)
        return True


@dataclass(slots=True)
class _There:
    """What stood in the file behind the checkpoint; read piece by piece, for the job may have made it of any size."""

    fd: int
    at: int
    end: int

    def beyond(self, data: bytes) -> bytes:
        """What of an entry is not in the file yet."""
        known = os.pread(self.fd, max(0, min(len(data), self.end - self.at)), self.at)
        if not data.startswith(known):
            self.at = self.end  # somebody else wrote into the file: rather twice than never
            return data
        self.at += len(known)
        return data[len(known) :]


class Capture:
    """Follows running containers in threads of its own, one each; completes the file when a container has ended."""

    def __init__(self, engine: Engine, volume: SharedVolume) -> None:
        self._engine, self._volume = engine, volume
        self._followers: dict[str, _Follower] = {}
        self._lock = threading.Lock()

    def follow(self, name: str, container_id: str) -> None:
        """Write along while the container runs; does nothing when that is being done."""
        with self._lock:
            if container_id in self._followers:
                return
            thread = threading.Thread(
                target=self._follow, args=(name, container_id), name=f"log-{name[:20]}", daemon=True
            )
            self._followers[container_id] = _Follower(thread)
        thread.start()

    def complete(self, name: str, container_id: str) -> tuple[str, ...]:
        """Bring the file up to the container's last byte, durably; the last lines, as evidence. Raises on failure."""
        follower = self._stop_following(container_id)
        if follower is not None:
            follower.join(PATIENCE.total_seconds())
        self._catch_up(name, container_id, follow=False)
        fd = self._open(name)
        try:
            os.fsync(fd)
            return last_lines(_tail(fd))
        finally:
            os.close(fd)
            self._volume.remove(_checkpoint_file(name))

    def note(self, name: str, words: str) -> None:
        """Add a line of ours, for a job whose container never said anything."""
        fd = self._open(name)
        try:
            os.write(fd, words.encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)

    def stop(self) -> None:
        """End all following; the files go on where they are after a restart."""
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            if follower.stream is not None:
                follower.stream.close()
        end = time.monotonic() + STOP_SECONDS
        for follower in followers:
            follower.thread.join(max(0.0, end - time.monotonic()))

    def _stop_following(self, container_id: str) -> threading.Thread | None:
        with self._lock:
            follower = self._followers.pop(container_id, None)
        if follower is None:
            return None
        # The engine ends the stream of an ended container by itself: let its last bytes come before cutting it.
        follower.thread.join(0.5)
        if follower.thread.is_alive() and follower.stream is not None:
            follower.stream.close()
        return follower.thread

    def _follow(self, name: str, container_id: str) -> None:
        try:
            self._catch_up(name, container_id, follow=True)
        except (EngineError, OSError) as error:
            logger.warning("job %s: log following paused: %s", name, error)
        finally:
            with self._lock:
                self._followers.pop(container_id, None)

    def _catch_up(self, name: str, container_id: str, *, follow: bool) -> None:
        fd = self._open(name)
        try:
            start = self._start(name, container_id, os.fstat(fd).st_size)
            stream = self._engine.logs(container_id, start.since, follow=follow)
            with contextlib.closing(stream):
                self._note_stream(container_id, stream)
                self._write(name, fd, start, iter(stream))
        finally:
            os.close(fd)

    def _note_stream(self, container_id: str, stream: LogStream) -> None:
        with self._lock:
            follower = self._followers.get(container_id)
            if follower is not None:
                follower.stream = stream

    def _start(self, name: str, container_id: str, size: int) -> Checkpoint:
        try:
            raw = orjson.loads(self._volume.read(_checkpoint_file(name), 4096))
            found = Checkpoint(str(raw["container"]), int(raw["offset"]), raw["since"])
        except (OSError, ValueError, KeyError, TypeError):
            return Checkpoint(container_id)
        if found.container_id != container_id or found.offset > size:
            return Checkpoint(container_id)  # of another attempt, or the job cut its own file: all is asked for again
        return found

    def _write(self, name: str, fd: int, start: Checkpoint, entries: Iterator[LogEntry]) -> None:
        there = _There(fd, start.offset, os.fstat(fd).st_size)
        end, newest, marked = start.offset, start.since, start.offset
        seen = _Seen()
        for entry in entries:
            if (start.since is not None and entry.at <= start.since) or not seen.is_new(entry):
                continue
            if newest is not None and entry.at > newest and end - marked >= CHECKPOINT_BYTES:
                self._mark(name, Checkpoint(start.container_id, end, newest))
                marked = end
            _write_all(fd, there.beyond(entry.data))
            end += len(entry.data)
            newest = entry.at if newest is None else max(newest, entry.at)

    def _mark(self, name: str, checkpoint: Checkpoint) -> None:
        facts = {"container": checkpoint.container_id, "offset": checkpoint.offset, "since": checkpoint.since}
        self._volume.write(_checkpoint_file(name), orjson.dumps(facts), durable=False)

    def _open(self, name: str) -> int:
        """The file, whatever the job planted in its place: that is moved out of the way."""
        folder = f"jobs/{name}/logs"
        for _ in range(4):
            try:
                with self._volume.folder(folder, create=True):
                    return self._volume.open(f"{folder}/container.log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EISDIR, errno.ENXIO):
                    raise
                self._clear_way(name)
        raise OSError(errno.ELOOP, "the job keeps planting links in its log folder", folder)

    def _clear_way(self, name: str) -> None:
        for path in (f"jobs/{name}/logs/container.log", f"jobs/{name}/logs", f"jobs/{name}"):
            if self._volume.displace(path, is_folder=not path.endswith(".log")):
                logger.warning("job %s: moved %s out of the way: it was not what it should be", name, path)
                return


def _checkpoint_file(name: str) -> str:
    return f"state/jobs/{name}/capture.json"


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _tail(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, EVIDENCE_BYTES, max(0, size - EVIDENCE_BYTES))


def last_lines(tail: bytes) -> tuple[str, ...]:
    """The last lines that say something, printable and short, in their order."""
    lines = tail.decode("utf-8", "replace").replace("\r", "\n").split("\n")
    said = [line.strip() for line in lines if line.strip()][-EVIDENCE_LINES:]
    return tuple("".join(c if c.isprintable() else " " for c in line)[:200] for line in said)
