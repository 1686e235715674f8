"""The machine beneath a fake engine: containers, images, networks and time, shared by the engines that look at it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from .engine import Container, ContainerSpec, EngineEvent, EngineInfo, LogEntry

Clock = Callable[[], datetime]

_PIECE_BYTES = 16 * 1024  # Docker cuts longer lines into pieces of this size
_LOOK_SECONDS = 0.01  # how often a waiting stream looks at the clock


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now

    def __call__(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeRun:
    """What a container does once it is started; with `run_for` None it runs until a signal or `finish` ends it."""

    exit_code: int = 0
    run_for: float | None = None
    output: bytes = b""
    oom: bool = False
    ignores_term: bool = False
    ignores_kill: bool = False


@dataclass(slots=True)
class Box:
    """A container as the fake host holds it."""

    instance: str
    wanted: ContainerSpec
    seen: Container
    run: FakeRun = field(default_factory=FakeRun)
    log: list[LogEntry] = field(default_factory=list)
    boot: int = 0


class FakeHost:
    """What several engines of one machine share: containers, images, networks, time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.changed = threading.Condition()
        self.boxes: dict[str, Box] = {}
        self.images: dict[str, str] = {}
        self.registry: dict[str, str] = {}
        self.networks: set[str] = {"bridge", "host", "none"}
        self.streams: list[FakeEvents] = []
        self.boots = 1
        self.info = EngineInfo(id="fake", cpus=64, memory=2**40, gpus=0, at=clock(), version="fake")
        self.clock_offset = timedelta(0)
        self._made = 0
        self._last_ns = 0

    def add(self, instance: str, wanted: ContainerSpec, state: str = "created") -> Box:
        """A new container."""
        self._made += 1
        seen = Container(
            id=f"{self._made:064x}",
            name=wanted.name,
            job=wanted.job,
            generation=wanted.generation,
            attempt=wanted.attempt,
            digest=wanted.digest,
            state=state,
            image=wanted.image,
            image_id=self.images.get(tagged(wanted.image), ""),
        )
        box = Box(instance, wanted, seen, boot=self.boots)
        self.boxes[seen.id] = box
        self.tell(box, "create")
        return box

    def begin(self, box: Box, run: FakeRun) -> None:
        """Let a container run."""
        box.run, box.boot = run, self.boots
        box.seen = replace(box.seen, state="running", started_at=self.clock(), error="")
        self.tell(box, "start")
        self.say(box, run.output)

    def end(self, box: Box, exit_code: int, at: datetime | None = None, *, oom: bool = False) -> None:
        """Let a container end."""
        at = at or self.clock()
        box.seen = replace(box.seen, state="exited", finished_at=at, exit_code=exit_code, oom_killed=oom)
        self.tell(box, "die")

    def say(self, box: Box, output: bytes) -> None:
        """Add to a container's log, as Docker keeps it: in pieces of lines, each with a time, valid UTF-8."""
        for line in output.splitlines(keepends=True):
            at = self._next_stamp()
            for start in range(0, len(line), _PIECE_BYTES):
                piece = line[start : start + _PIECE_BYTES].decode("utf-8", "replace").encode()
                box.log.append(LogEntry(at=at, data=piece))
        self.changed.notify_all()

    def _next_stamp(self) -> str:
        now = self.clock()
        self._last_ns = max(self._last_ns + 1, int(now.timestamp()) * 10**9 + now.microsecond * 1000)
        seconds, ns = divmod(self._last_ns, 10**9)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09d}Z"

    def tell(self, box: Box, action: str) -> None:
        """Send an event to whoever watches this container's instance."""
        for stream in self.streams:
            if stream.instance == box.instance:
                stream.pending.append(EngineEvent(job=box.wanted.job, action=action))
        self.changed.notify_all()

    def settle(self) -> None:
        """End what should have ended by now."""
        for box in list(self.boxes.values()):
            started_at, run_for = box.seen.started_at, box.run.run_for
            if box.seen.state != "running" or started_at is None or run_for is None:
                continue
            due = started_at + timedelta(seconds=run_for)
            if due <= self.clock():
                self.end(box, box.run.exit_code, due, oom=box.run.oom)


class FakeLog:
    """The log of one container, followed until it ends, is removed, or the stream is closed."""

    def __init__(self, host: FakeHost, box: Box, since: str | None, *, follow: bool) -> None:
        self._host, self._box, self._since, self._follow = host, box, since or "", follow
        self.is_closed = False

    def __iter__(self) -> Iterator[LogEntry]:
        told = 0
        while True:
            with self._host.changed:
                self._host.settle()
                fresh, is_live = self._box.log[told:], self._box.seen.id in self._host.boxes and self._box.seen.is_live
                if not fresh and is_live and self._follow and not self.is_closed:
                    self._host.changed.wait(_LOOK_SECONDS)
                    continue
            told += len(fresh)
            yield from (entry for entry in fresh if entry.at >= self._since)
            if not fresh or self.is_closed:
                return

    def close(self) -> None:
        """End the iteration."""
        with self._host.changed:
            self.is_closed = True
            self._host.changed.notify_all()


class FakeEvents:
    """Events for one instance, until the stream is closed."""

    def __init__(self, host: FakeHost, instance: str) -> None:
        self._host, self.instance = host, instance
        self.pending: list[EngineEvent] = []
        self.is_closed = False

    def __iter__(self) -> Iterator[EngineEvent]:
        while True:
            with self._host.changed:
                self._host.settle()
                fresh, self.pending = self.pending, []
                if not fresh and not self.is_closed:
                    self._host.changed.wait(_LOOK_SECONDS)
            yield from fresh
            if self.is_closed:
                return

    def close(self) -> None:
        """End the iteration."""
        with self._host.changed:
            self.is_closed = True
            self._host.changed.notify_all()


def tagged(image: str) -> str:
    """The reference with the tag that Docker supposes when there is none."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"
