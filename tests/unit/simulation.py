"""The whole operator on a fake engine, stepped by hand: no threads, no sleeps, and it may crash at any write or call.

s = Simulation(tmp_path)
s.drop("a", args=["--fast"])       # a spec file, renamed into place
s.run()                            # until nothing is due
s.wait(20)                         # time passes
s.crash_at(7)                      # the operator dies at its 7th write or call from now on, and is started anew
"""

import itertools
import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import yaml
from tests.unit.mortal import Crash, Fate, MortalEngine, MortalVolume

from opeva_operator import handlers
from opeva_operator.engine import Engine, EngineEvent
from opeva_operator.enginewatch import EngineWatch
from opeva_operator.local import Operator
from opeva_operator.lock import HolderLock
from opeva_operator.testing import FakeClock
from opeva_specs.hostsfile import LOCAL, HostEntry
from opeva_specs.settings import Settings
from opeva_specs.status import JobStatus, Wish
from opeva_specs.store import ControlStore, EventLog, StatusStore
from opeva_specs.volume import SharedVolume

IMAGE = "sim:1"
PING_EVERY = 5
RESYNC_EVERY = 30
MOST_ROUNDS = 400
HANDLERS = (handlers.created, handlers.updated, handlers.resumed, handlers.deleted)  # registered by being imported


class _NoWatch:
    """Nothing tells by itself that a file changed: the test does."""

    mode = "simulated"
    problems: tuple[str, ...] = ()

    def start(self) -> None: ...
    def stop(self) -> None: ...


class _Once:
    """Stands for an event that is set at the second look: a loop that waits for it turns once."""

    def __init__(self) -> None:
        self._looks = 0

    def wait(self, timeout: float) -> bool:
        self._looks += 1
        return self._looks > 1


class SteppedOperator(Operator):
    """The operator as it is wired, but for its threads."""

    def __init__(
        self, settings: Settings, make_engine: Callable[[str, HostEntry], Engine], clock: FakeClock, fate: Fate
    ) -> None:
        super().__init__(settings, make_engine, clock)
        self._volume = MortalVolume(settings.shared_data, fate)
        self._lock = HolderLock(self._volume)
        self._fake = clock
        self._scans: list[datetime] = []
        self.flights: list[Callable[[], None]] = []

    def _build(self, instance: str) -> None:
        super()._build(instance)
        began_at = self._fake()
        queue: Any = self._queue
        queue._monotonic = lambda: (self._fake() - began_at).total_seconds()
        queue._jitter = lambda: 0.5
        get = self._queue.get
        queue.get = lambda: get(timeout=0.0)  # a worker that finds nothing due goes home
        self._watch: Any = _NoWatch()
        for host in self._hosts:
            capture: Any = host.capture
            capture.follow = lambda name, container_id: None
            host.pulls._pause = lambda seconds: None
            host.pulls._begin = lambda fly, name: self.flights.append(fly)

    def _run(self, target: Callable[[], None], name: str) -> None:
        """No thread."""

    def _scan_later(self, seconds: float) -> None:
        self._scans.append(self._fake() + timedelta(seconds=seconds))

    def step(self) -> bool:
        """Do what is due; whether something was."""
        met = len(self._volume.fate.met)  # type: ignore[attr-defined]
        if self._scan_wanted.is_set() or any(due <= self._fake() for due in self._scans):
            self._scan_wanted.clear()
            self._scans = [due for due in self._scans if due > self._fake()]
            self._specs.scan()
        self._work()
        flights, self.flights = self.flights, []
        for fly in flights:
            fly()
        return len(self._volume.fate.met) > met  # type: ignore[attr-defined]

    def ask_engine(self) -> None:
        """What the thread that asks does, once."""
        for watch in self._engine_watches:
            once: Any = _Once()
            watch._stopping = once
            watch.ask()


class Simulation:
    """One volume, one clock, an operator that may die and come back, its engine, and one for each of other `hosts`."""

    def __init__(
        self, root: Path, *, beside: "Simulation | None" = None, hosts: tuple[str, ...] = (), **settings: Any
    ) -> None:
        chosen = {"default_image": IMAGE, "min_free_bytes": 0, "max_concurrent_jobs": 4, **settings}
        self.settings = Settings(shared_data=root, **chosen)
        self.name_hosts(*hosts)
        self.volume = SharedVolume(root)
        self.clock, self.fate = beside.clock if beside else FakeClock(), Fate()
        self.statuses, self.controls, self.events = (
            StatusStore(self.volume), ControlStore(self.volume), EventLog(self.volume)
        )  # fmt: skip
        self.engines = {name: MortalEngine(self.clock, self.fate, self.statuses) for name in (LOCAL, *hosts)}
        self.engine = self.engines[LOCAL]
        self.engine.host = beside.engine.host if beside else self.engine.host
        for engine in self.engines.values():
            engine.have_image(IMAGE)
        self.crashes = 0
        self.lives: Counter[str] = Counter()  # how often a job was deleted with all that was known of it
        self.is_deaf = False  # no events of files: only scans find them
        self._numbers = itertools.count(1)
        self._streams: dict[str, Any] = {}
        self._age = 0
        self.boot()

    # -- the operator --------------------------------------------------------------------------------------------

    def boot(self, **settings: Any) -> None:
        """Start an operator over what is there; one that dies on the way is started again."""
        self.settings = self.settings.model_copy(update=settings)
        self._streams = {name: stream for name, stream in self._streams.items() if name == LOCAL}
        while True:
            self.operator = SteppedOperator(self.settings, self._connect, self.clock, self.fate)
            try:
                assert self.operator.start()
                return
            except Crash:
                self._bury()

    def name_hosts(self, *hosts: str, **more: Any) -> None:
        """Write the hosts file; the operator reads it when it is started the next time."""
        root = self.settings.shared_data
        common = {"sharedData": str(root), **more}
        rows = [{"name": name, "url": f"unix:///run/{name}.sock", **common} for name in hosts]
        file = root.with_name(f"{root.name}-hosts.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump({"hosts": rows}))
        self.settings = self.settings.model_copy(update={"hosts": str(file)})

    def _connect(self, instance: str, at: HostEntry) -> Engine:
        self.engines[at.name].instance = instance
        return self.engines[at.name]

    def _bury(self) -> None:
        self.crashes += 1
        self.operator._lock.release()

    def restart(self, **settings: Any) -> None:
        """Kill the operator and start another."""
        self._bury()
        self.boot(**settings)

    def crash_at(self, step: int) -> None:
        """Let the operator die at its n-th step from now on."""
        self.fate.left = step

    def run(self) -> None:
        """Let it work until nothing is due now."""
        for _ in range(MOST_ROUNDS):
            if not self._alive(self._turn):
                return
        raise AssertionError(f"never quiet; last: {self.fate.met[-20:]}")

    def _turn(self) -> bool:
        self._bury_the_deleted()
        for watch in self.operator._engine_watches:
            self._hear(watch)
        return self.operator.step()

    def _hear(self, watch: EngineWatch) -> None:
        name = watch._host.name
        engine = self.engines[name]
        self._listen(watch, name, engine)
        with engine.host.changed:
            engine.host.settle()
            heard: list[EngineEvent] = []
            if (stream := self._streams.get(name)) is not None:
                heard, stream.pending = stream.pending, heard
            for event in heard if engine.is_reachable else ():
                self.operator._queue.add(event.job)

    def _bury_the_deleted(self) -> None:
        for name in self.fate.deleted:
            for engine in self.engines.values():
                engine.forget(name)
            self.lives[name] += 1
        self.fate.deleted.clear()

    def _alive(self, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Crash:
            self._bury()
            self.boot()
            return True

    def wait(self, seconds: int) -> None:
        """Let time pass, a second at a time, with all that happens in it."""
        for _ in range(seconds):
            self.clock.advance(1)
            self._age += 1
            if self._age % PING_EVERY == 0:
                self._alive(self.operator.ask_engine)
            if self._age % RESYNC_EVERY == 0:
                self._alive(self.operator.resync)
            self.run()

    def _listen(self, watch: EngineWatch, name: str, engine: MortalEngine) -> None:
        """Keep a stream of events open, as the thread that listens does."""
        stream = self._streams.get(name)
        if not engine.is_reachable or (stream is not None and not stream.is_closed):
            return
        left, self.fate.left = self.fate.left, None
        self._streams[name] = engine.events()
        watch.list_containers()
        self.fate.left = left

    # -- files ---------------------------------------------------------------------------------------------------

    def drop(self, name: str, *, file: str | None = None, **spec: Any) -> None:
        """Put a job's file in place, as an editor or the API does: by renaming."""
        self.write(file or f"{name}.yaml", document(name, **spec))

    def write(self, file: str, text: str) -> None:
        """Rename a file with that text into place."""
        path = self.volume.specs / file
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text)
        stamp = next(self._numbers) * 10**9
        os.utime(fresh, ns=(stamp, stamp))
        fresh.rename(path)
        self.tell(path)

    def scribble(self, file: str, text: str) -> None:
        """Write a file in place, not closed yet."""
        path = self.volume.specs / file
        path.write_text(text)
        stamp = next(self._numbers) * 10**9
        os.utime(path, ns=(stamp, stamp))
        self.tell(path, is_complete=False)

    def remove(self, file: str) -> None:
        """Remove a spec file."""
        path = self.volume.specs / file
        path.unlink(missing_ok=True)
        self.tell(path)

    def move(self, file: str, target: str) -> None:
        """Rename a spec file."""
        (self.volume.specs / target).parent.mkdir(parents=True, exist_ok=True)
        (self.volume.specs / file).rename(self.volume.specs / target)
        self.tell(self.volume.specs / target)
        self.tell(self.volume.specs / file)

    def tell(self, path: Path, *, is_complete: bool = True) -> None:
        """What a watch would tell of a path."""
        if not self.is_deaf:
            self._alive(lambda: self.operator._hint(path, is_complete))

    def wish(self, name: str, wish: str, *, digest: str | None = None, reason: str = "", by: str = "ann") -> None:
        """Ask for something once, as the API does."""
        asked = Wish(id=f"w{next(self._numbers)}", wish=wish, digest=digest, by=by, reason=reason, at=self.clock())
        self.controls.write(name, asked)
        self.tell(self.volume.control / f"{name}.json")

    # -- what came of it -----------------------------------------------------------------------------------------

    def status(self, name: str) -> JobStatus:
        """The status of a job, which must have one."""
        found = self.statuses.read(name)
        assert found is not None, f"job {name} has no status"
        return found

    def phase(self, name: str) -> str:
        """Phase and reason in two words; `-` when there is no status."""
        found = self.statuses.read(name)
        return f"{found.status.phase} {found.status.reason}" if found else "-"

    def finish(self, name: str, exit_code: int = 0, *, oom: bool = False) -> None:
        """Let a job's container end by itself."""
        places = self.places(name)
        self.engines[places[0] if places else LOCAL].finish(name, exit_code, oom=oom)

    def is_live(self, name: str) -> bool:
        """Whether a container of that job runs."""
        return bool(self.places(name))

    def places(self, name: str) -> list[str]:
        """The hosts where a container of that job runs."""
        return [
            host
            for host, engine in self.engines.items()
            if any(box.wanted.job == name and box.seen.is_live for box in engine.host.boxes.values())
        ]

    def rejected(self, file: str) -> list[dict[str, Any]]:
        """What is told against a spec file."""
        path = self.volume.rejected / f"{file}.json"
        errors: list[dict[str, Any]] = orjson.loads(path.read_bytes())["errors"] if path.exists() else []
        return errors

    def log(self, name: str) -> str:
        """What was captured of a job's output."""
        return (self.volume.jobs / name / "logs" / "container.log").read_text()


def document(name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> str:
    """One job as YAML; without a config it gets arguments."""
    if not {"config", "configPath", "args"} & spec.keys():
        spec["args"] = ["--steps", "10"]
    metadata: dict[str, Any] = {"name": name, **({"labels": labels} if labels else {})}
    body = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": metadata, "spec": spec}
    return yaml.safe_dump(body, sort_keys=False)
