"""Engine: what the operator needs of a container engine, and the words for what can go wrong.

    create -> created -> start -> running -> (signal | ends by itself) -> exited -> remove -> gone

Unknown is not absent: a call answers, or raises EngineUnreachable. Only an explicit "not found" is None.

EngineError                the engine was asked and refused; the message is its own
 ├─ EngineUnreachable      nobody knows: no answer, a broken connection, a server error
 ├─ ImageMissing           there is no such image on this host
 ├─ NameTaken              a container of that name exists already
 ├─ NetworkNotFound        there is no such network
 ├─ PathMissing            there is no such file or folder on the host
 ├─ ContainerGone          the container does not exist any more
 └─ PullFailed             the image cannot be had; `kind` is "not found", "unauthorised" or "unreachable"
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

LABEL = "opeva.io/"
INSTANCE = LABEL + "instance"
JOB = LABEL + "job"
GENERATION = LABEL + "generation"
ATTEMPT = LABEL + "attempt"
DIGEST = LABEL + "digest"
PROBE = LABEL + "probe"  # a container that looks at the shared volume, and is no job's

PullKind = Literal["not found", "unauthorised", "unreachable"]


class EngineError(Exception):
    """The engine was asked and refused."""


class EngineUnreachable(EngineError):
    """Nobody knows: the engine did not answer."""


class ImageMissing(EngineError):
    """There is no such image on this host."""


class NameTaken(EngineError):
    """A container of that name exists already."""


class NetworkNotFound(EngineError):
    """There is no such network."""


class PathMissing(EngineError):
    """There is no such file or folder on the engine's host."""


class ContainerGone(EngineError):
    """The container does not exist any more."""


class PullFailed(EngineError):
    """The image cannot be had."""

    def __init__(self, kind: PullKind, message: str) -> None:
        super().__init__(message)
        self.kind: PullKind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder of the host inside the container; with `source` None an empty tmpfs."""

    source: str | None
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """All that is needed to create a container; bytes, billionths of a core."""

    name: str
    job: str
    generation: int
    attempt: int
    digest: str
    image: str
    command: tuple[str, ...] | None
    args: tuple[str, ...]
    env: dict[str, str]
    network: str
    mounts: tuple[Mount, ...] = ()
    nano_cpus: int | None = None
    memory_bytes: int | None = None
    gpus: int = 0
    pids_limit: int | None = None
    shm_bytes: int = 2**30
    log_max_bytes: int = 50 * 2**20
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as the engine tells of it; `state` is the engine's own word; times are the engine's, in UTC."""

    id: str
    name: str
    job: str
    generation: int
    attempt: int
    digest: str
    state: str
    is_ours: bool = True
    host: str = "local"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    image: str = ""
    image_id: str = ""
    stop_signal: str = "SIGTERM"
    error: str = ""

    @property
    def is_live(self) -> bool:
        """Whether a process of it may be running."""
        return self.state in ("running", "paused", "restarting")

    @property
    def has_ended(self) -> bool:
        """Whether it ran and is over: never started is not ended."""
        return self.state in ("exited", "dead", "removing") and self.started_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine tells of itself and its machine; `id` is its own, `at` is what its clock said."""

    id: str
    cpus: int
    memory: int
    gpus: int
    at: datetime
    version: str = ""
    system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTag:
    """A name of an image on a host; `digest` is `repo@sha256:…` if it came from a registry under that name."""

    name: str
    id: str
    digest: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One piece of output (a line, or a part of a long one), with the engine's time of it (RFC 3339, nanoseconds)."""

    at: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvent:
    """Something happened to a container of this instance: a hint to look at its job."""

    job: str
    action: str


class LogStream(Protocol):
    """Log entries as they come; `close` may be called from another thread and ends the iteration."""

    def __iter__(self) -> Iterator[LogEntry]: ...
    def close(self) -> None: ...


class EventStream(Protocol):
    """Events as they come; `close` may be called from another thread and ends the iteration."""

    def __iter__(self) -> Iterator[EngineEvent]: ...
    def close(self) -> None: ...


class Engine(Protocol):
    """One container engine, seen by one instance (one shared volume)."""

    def ping(self) -> None:
        """Return when the engine answers; raise EngineUnreachable otherwise."""

    def info(self) -> EngineInfo:
        """What the engine tells of itself and its machine."""

    def read_file(self, folder: str, path: str) -> bytes | None:
        """A small file in a folder of the engine's host, as a container there sees it; None: no such folder or file."""

    def list(self) -> list[Container]:
        """Every container of this instance, complete (from one listing: times and exit codes may be missing)."""

    def find(self, name: str) -> Container | None:
        """The container of that name with all it knows, ours or foreign; None means surely gone."""

    def by_id(self, container_id: str) -> Container | None:
        """The container of that id (or of the one that begins so), ours or foreign; None means surely gone."""

    def create(self, wanted: ContainerSpec) -> str:
        """Create it, not started; the id. Raises ImageMissing, NameTaken, NetworkNotFound, EngineError."""

    def start(self, container_id: str) -> None:
        """Start it; fine if it runs already. Raises NetworkNotFound, ContainerGone, EngineError."""

    def signal(self, container_id: str, signal: str) -> None:
        """Send a signal, waking a paused container first; fine if it has ended. Raises ContainerGone."""

    def remove(self, container_id: str) -> None:
        """Remove it, killing it if need be; fine if it is gone."""

    def image_digest(self, image: str) -> str | None:
        """What the reference means on this host now (`repo@sha256:…`, else the image id); None if it is not here."""

    def images(self) -> Sequence[ImageTag]:
        """Every name of an image on this host."""

    def pull(self, image: str, timeout_seconds: float) -> None:
        """Fetch the image; raises PullFailed (kind "unreachable" also when the deadline passes)."""

    def ensure_network(self, network: str) -> None:
        """Create the network (a bridge) when it is missing."""

    def has_network(self, network: str) -> bool:
        """Whether there is a network of that name."""

    def logs(self, container_id: str, since: str | None, *, follow: bool) -> LogStream:
        """stdout and stderr in the engine's order, from `since` (an entry's `at`, inclusive) on.

        Without `follow`, the iteration raises EngineUnreachable where it cannot reach the log's end.
        """

    def events(self) -> EventStream:
        """Events of this instance's containers from now on; the stream may end or fall silent: relist then."""

    def restarted_since_start(self, container: Container) -> bool:
        """Whether there is evidence that the engine itself was restarted after that container was started."""

    def host_path(self, path: str) -> str | None:
        """If this process runs in a container of this engine: the host's path of what is mounted at `path`."""
