"""Stand-ins for tests: an engine in memory, and a clock that moves when told.

    clock = FakeClock()
    engine = FakeEngine("volume-1", clock)
    engine.runs["job-a"] = FakeRun(run_for=60, exit_code=3, output=b"hello\\n")
    engine.fail("create", EngineUnreachable("no answer"), lose_reply=True)
    clock.advance(60)

`FakeEngine` passes the same contract suite as the real one.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals

from .engine import (
    Container,
    ContainerGone,
    ContainerSpec,
    EngineInfo,
    EngineUnreachable,
    EventStream,
    ImageMissing,
    ImageTag,
    LogStream,
    NameTaken,
    NetworkNotFound,
    PullFailed,
)
from .fake_host import Box, Clock, FakeClock, FakeEvents, FakeHost, FakeLog, FakeRun, tagged

_GATE_SECONDS = 30.0  # a test that forgets to open a gate fails, it does not hang

__all__ = ["FakeClock", "FakeEngine", "FakeHost", "FakeRun"]


@dataclass(slots=True)
class _Fault:
    error: Exception
    times: int
    lose_reply: bool


class FakeEngine:
    """An engine in memory: containers run by `runs` (by job or image), or until `finish` or a signal ends them."""

    def __init__(self, instance: str = "fake", clock: Clock | None = None, host: FakeHost | None = None) -> None:
        self.instance = instance
        self.host = host or FakeHost(clock or FakeClock())
        self.runs: dict[str, FakeRun] = {}
        self.calls: list[tuple[str, ...]] = []
        self.starts: list[str] = []  # the job of every container that began to run
        self.host_paths: dict[str, str] = {}
        self.is_reachable = True
        self._faults: dict[str, _Fault] = {}
        self._gates: dict[str, threading.Event] = {}
        self._logs: list[FakeLog] = []
        self._events: list[FakeEvents] = []

    # --- what a test arranges ---------------------------------------------------------------------------------

    def beside(self, instance: str) -> "FakeEngine":
        """The same machine as another instance sees it."""
        return FakeEngine(instance, host=self.host)

    def have_image(self, image: str) -> None:
        """Put an image on this host."""
        self.host.images[tagged(image)] = f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"

    def fail(self, method: str, error: Exception, times: int = 1, *, lose_reply: bool = False) -> None:
        """Let the next calls of a method fail: before anything happens or, with `lose_reply`, after it happened."""
        self._faults[method] = _Fault(error, times, lose_reply)

    def hold(self, method: str) -> threading.Event:
        """Let calls of a method wait until the event is set."""
        self._gates[method] = threading.Event()
        return self._gates[method]

    def break_streams(self) -> None:
        """End all open logs and events, as a lost connection does."""
        for log in self._logs:
            log.close()
        for events in self._events:
            events.close()

    def restart(self) -> None:
        """Restart the engine: whatever runs gets SIGTERM, then SIGKILL; all streams end."""
        with self.host.changed:
            self.host.settle()
            self.host.boots += 1
            for box in self.host.boxes.values():
                if box.seen.is_live:
                    self.host.end(box, 137 if box.run.ignores_term else 143)
        self.break_streams()

    def plant(self, name: str, state: str = "running") -> str:
        """Put a foreign container on this host; its id."""
        wanted = ContainerSpec(
            name=name, job="", generation=0, attempt=0, digest="", image="foreign", command=None, args=(), env={},
            network="bridge",
        )  # fmt: skip
        with self.host.changed:
            return self.host.add("", wanted, state).seen.id

    def finish(self, job: str, exit_code: int = 0, *, oom: bool = False) -> None:
        """Let a running job end by itself."""
        with self.host.changed:
            self.host.end(self._running(job), exit_code, oom=oom)

    def say(self, job: str, output: bytes) -> None:
        """Let a running job write to its output."""
        with self.host.changed:
            self.host.say(self._running(job), output)

    def pause(self, job: str) -> None:
        """Freeze a running job, as `docker pause` does."""
        with self.host.changed:
            box = self._running(job)
            box.seen = replace(box.seen, state="paused")

    def wanted(self, job: str) -> ContainerSpec:
        """What the job's container was created from."""
        return next(box.wanted for box in self._own() if box.wanted.job == job)

    def _own(self) -> list[Box]:
        return [box for box in self.host.boxes.values() if box.instance == self.instance]

    def _running(self, job: str) -> Box:
        self.host.settle()
        for box in self._own():
            if box.wanted.job == job and box.seen.is_live:
                return box
        raise LookupError(f"no container of job {job!r} runs on the fake engine")

    @contextlib.contextmanager
    def _asked(self, method: str, *subjects: str) -> Iterator[None]:
        """Around every call: it is logged, may be held, and fails when it should."""
        self.calls.append((method, *subjects))
        gate = self._gates.get(method)
        if gate is not None and not gate.wait(_GATE_SECONDS):
            raise AssertionError(f"nobody opened the gate of {method!r}")
        with self.host.changed:
            self.host.settle()
            if not self.is_reachable:
                raise EngineUnreachable("the fake engine is switched off")
            fault = self._take_fault(method)
            if fault is not None and not fault.lose_reply:
                raise fault.error
            yield
        if fault is not None:
            raise fault.error

    def _take_fault(self, method: str) -> _Fault | None:
        fault = self._faults.get(method)
        if fault is None or fault.times <= 0:
            return None
        fault.times -= 1
        return fault

    def _box(self, container_id: str) -> Box:
        box = self.host.boxes.get(container_id)
        if box is None:
            raise ContainerGone(f"No such container: {container_id}")
        return box

    def _seen(self, box: Box) -> Container:
        return replace(box.seen, is_ours=box.instance == self.instance)

    # --- what every engine does -------------------------------------------------------------------------------

    def ping(self) -> None:
        """Return when the engine answers."""
        with self._asked("ping"):
            pass

    def info(self) -> EngineInfo:
        """What the test put into `host.info`, with the fake host's time."""
        with self._asked("info"):
            return replace(self.host.info, at=self.host.clock() + self.host.clock_offset)

    def read_file(self, folder: str, path: str) -> bytes | None:
        """A file of this very machine, so that a fake host shares real volumes; `host_paths` are followed back."""
        with self._asked("read_file", folder, path):
            here = next((inside for inside, outside in self.host_paths.items() if outside == folder), folder)
            file = Path(here) / path
            return file.read_bytes() if file.is_file() else None

    def list(self) -> list[Container]:
        """Every container of this instance; like Docker's listing without times and exit codes."""
        with self._asked("list"):
            known = [self._seen(box) for box in self._own()]
            return [replace(one, started_at=None, finished_at=None, exit_code=None, oom_killed=False) for one in known]

    def find(self, name: str) -> Container | None:
        """The container of that name with all it knows."""
        with self._asked("find", name):
            return next((self._seen(box) for box in self.host.boxes.values() if box.wanted.name == name), None)

    def by_id(self, container_id: str) -> Container | None:
        """The container of that id."""
        with self._asked("by_id", container_id):
            boxes = self.host.boxes.items()
            return next((self._seen(box) for found, box in boxes if found.startswith(container_id)), None)

    def create(self, wanted: ContainerSpec) -> str:
        """Create it, not started; the id."""
        with self._asked("create", wanted.name):
            if tagged(wanted.image) not in self.host.images:
                raise ImageMissing(f"No such image: {wanted.image}")
            if any(box.wanted.name == wanted.name for box in self.host.boxes.values()):
                raise NameTaken(f"The container name {wanted.name!r} is already in use")
            return self.host.add(self.instance, wanted).seen.id

    def start(self, container_id: str) -> None:
        """Start it; fine if it runs already."""
        with self._asked("start", container_id):
            box = self._box(container_id)
            if box.seen.is_live:
                return
            if box.wanted.network not in self.host.networks:
                box.seen = replace(box.seen, error=f"network {box.wanted.network} not found")
                raise NetworkNotFound(box.seen.error)
            self.starts.append(box.wanted.job)
            self.host.begin(box, self.runs.get(box.wanted.job) or self.runs.get(box.wanted.image) or FakeRun())

    def signal(self, container_id: str, signal: str) -> None:
        """Send a signal, waking a paused container first; fine if it has ended."""
        with self._asked("signal", container_id, signal):
            box = self._box(container_id)
            if not box.seen.is_live:
                return
            box.seen = replace(box.seen, state="running")
            if not (box.run.ignores_kill if signal == "SIGKILL" else box.run.ignores_term):
                self.host.end(box, 128 + Signals[signal])

    def remove(self, container_id: str) -> None:
        """Remove it, killing it if need be; fine if it is gone."""
        with self._asked("remove", container_id):
            box = self.host.boxes.pop(container_id, None)
            if box is None:
                return
            if box.seen.is_live:
                self.host.end(box, 137)
            self.host.tell(box, "destroy")

    def image_digest(self, image: str) -> str | None:
        """What the reference means on this host now."""
        with self._asked("image_digest", image):
            return self.host.images.get(tagged(image))

    def images(self) -> Sequence[ImageTag]:
        """Every name of an image on this host; what came from the registry has a digest."""
        with self._asked("images"):
            at = self.host.clock()
            return [
                ImageTag(name=name, id=found, digest=found if name in self.host.registry else None, created_at=at)
                for name, found in self.host.images.items()
            ]

    def pull(self, image: str, timeout_seconds: float) -> None:
        """Fetch the image from the registry that the test filled."""
        with self._asked("pull", image):
            if tagged(image) not in self.host.registry:
                raise PullFailed("not found", f"manifest for {image} not found")
            self.host.images[tagged(image)] = self.host.registry[tagged(image)]

    def ensure_network(self, network: str) -> None:
        """Create the network when it is missing."""
        with self._asked("ensure_network", network):
            self.host.networks.add(network)

    def has_network(self, network: str) -> bool:
        """Whether there is a network of that name."""
        with self._asked("has_network", network):
            return network in self.host.networks

    def logs(self, container_id: str, since: str | None, *, follow: bool) -> LogStream:
        """The container's output from `since` on."""
        with self._asked("logs", container_id):
            stream = FakeLog(self.host, self._box(container_id), since, follow=follow)
            self._logs.append(stream)
            return stream

    def events(self) -> EventStream:
        """Events of this instance's containers from now on."""
        with self._asked("events"):
            stream = FakeEvents(self.host, self.instance)
            self._events.append(stream)
            self.host.streams.append(stream)
            return stream

    def restarted_since_start(self, container: Container) -> bool:
        """Whether `restart` was called after that container was started."""
        with self._asked("restarted_since_start", container.name):
            box = self.host.boxes.get(container.id)
            return box is not None and box.boot < self.host.boots

    def host_path(self, path: str) -> str | None:
        """What the test put into `host_paths`; None as on a bare host."""
        with self._asked("host_path", path):
            return self.host_paths.get(path)
