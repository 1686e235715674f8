"""The operator on one machine: all wiring, in the order in which it starts."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import opeva_operator.handlers  # noqa: F401 - importing them registers them
from opeva_operator.acceptance import Acceptance
from opeva_operator.actions import Actions
from opeva_operator.clock import SteadyClock, wall_now
from opeva_operator.endings import wants_more
from opeva_operator.engine import Engine, EngineError
from opeva_operator.enginewatch import EngineWatch
from opeva_operator.fleet import make_hosts, workers_of
from opeva_operator.folders import empty_trash
from opeva_operator.founding import hand_over, host_boot_id, identify, recorded_jobs, sweep
from opeva_operator.gate import Gatekeeper
from opeva_operator.hosts import Surroundings
from opeva_operator.imported import Importer
from opeva_operator.lock import HolderLock
from opeva_operator.pulse import Pulses
from opeva_operator.reconciler import Parts, Reconciler
from opeva_operator.roster import Roster
from opeva_operator.specwatch import SpecWatch, is_held
from opeva_operator.tell import Teller
from opeva_operator.workqueue import WorkQueue
from opeva_specs.admission import Line
from opeva_specs.hostsfile import HostEntry, read_hosts
from opeva_specs.settings import Settings
from opeva_specs.specfiles import SpecStore, is_spec_file
from opeva_specs.store import ControlStore, Damaged, EventLog, StatusStore
from opeva_specs.volume import SENTINEL, SharedVolume
from opeva_specs.watch import DirectoryWatch

logger = logging.getLogger(__name__)

END_SECONDS = 8.0
TICK = 1.0
HEARTBEAT_EVERY = 2.0
REGISTRY_EVERY = 5.0
MOST_WAITING = 500  # waiting jobs that one full pass looks at


class Operator:
    """Everything that runs; `start` returns when the volume is held and the first look is under way."""

    def __init__(
        self,
        settings: Settings,
        make_engine: Callable[[str, HostEntry], Engine],
        clock: Callable[[], datetime] | None = None,
        boot_id: Callable[[], str | None] = host_boot_id,
    ) -> None:
        self._boot_id = boot_id
        self._settings, self._clock = settings, clock or SteadyClock()
        self._file = read_hosts(settings.hosts)
        self._wall = clock or wall_now  # what others compare with their own clocks
        self._volume = SharedVolume(settings.shared_data)
        self._make_engine = make_engine
        self._lock = HolderLock(self._volume)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._scan_wanted = threading.Event()
        self._scan_due = 0.0
        self._first: set[str] = set()
        self._first_lock = threading.Lock()
        self._found_root: str | None = None
        self.is_synced = False

    def start(self) -> bool:
        """Wait for the volume, then begin; False when it was stopped while waiting."""
        self._volume.make_folders()
        hand_over(self._volume)
        if not self._lock.wait(self._stopping.is_set, self._stopping.wait):
            return False
        instance = identify(self._volume)
        empty_trash(self._volume)
        sweep(self._volume, self._wall())
        self._build(instance)
        self._load()
        self._watch.start()
        self._specs.scan()
        self._begin()
        return True

    def _build(self, instance: str) -> None:
        """Every part, and who knows whom."""
        settings, volume, clock = self._settings, self._volume, self._clock
        self._queue = WorkQueue(lane_of=lambda name: self._roster.host_of(name), workers=workers_of(self._file))
        line = Line({}, per_user=settings.max_jobs_per_user, max_bypass=settings.max_bypass)
        self._roster = Roster(line, settings.default_demand, self._queue.add)
        self._hosts = make_hosts(
            self._file,
            Surroundings(
                settings=settings, instance=instance, volume=volume, clock=clock, wake=self._queue.add,
                wake_all=self._wake_all, set_capacity=self._roster.set_capacity,
            ),
            self._make_engine, self._host_root, self._boot_id,
        )  # fmt: skip
        self._statuses, self._controls = StatusStore(volume), ControlStore(volume)
        store = SpecStore(volume, instance, self._roster.known)
        self._specs = SpecWatch(store, volume, self._roster, self._queue.add, clock, self._scan_later)
        acceptance = Acceptance(volume, settings)
        gatekeeper = Gatekeeper(acceptance, self._hosts, self._roster, volume, settings)
        pulses = Pulses(volume, clock, timedelta(seconds=settings.stall_after_seconds))
        actions = Actions(
            settings=settings, instance=instance, hosts=self._hosts, volume=volume, specs=self._specs,
            acceptance=acceptance, gatekeeper=gatekeeper, pulses=pulses, clock=clock,
        )  # fmt: skip
        parts = Parts(
            settings=settings, instance=instance, hosts=self._hosts, specs=self._specs, statuses=self._statuses,
            controls=self._controls, events=EventLog(volume), roster=self._roster, queue=self._queue,
            gatekeeper=gatekeeper, actions=actions, pulses=pulses, clock=clock,
        )  # fmt: skip
        self._reconciler = Reconciler(parts)
        actions.forget = self._reconciler.forget
        self._engine_watches = [EngineWatch(h, self._roster, self._queue.add, self._stopping) for h in self._hosts]
        self._teller = Teller(volume, settings, instance, self._roster, self._wall)
        self._importer = Importer(volume, self._hosts.local.engine, clock)
        self._watch = DirectoryWatch(
            [volume.specs, volume.control, volume.root / "configs"],
            self._hint,
            poll_seconds=settings.poll_seconds,
            canary=volume.control / ".canary",
        )

    def _wake_all(self, host: str, after_seconds: float) -> None:
        for name in self._roster.active(host):
            self._queue.add(name, after_seconds)

    def _load(self) -> None:
        """What earlier runs of the operator knew."""
        held: set[str] = set()
        for name in self._statuses.names():
            try:
                status = self._statuses.read(name)
            except Damaged:
                self._first.add(name)
                continue
            if status is None:
                continue
            self._roster.put(name, status)
            if is_held(status):
                held.add(name)
            if not status.status.phase.is_terminal or wants_more(status):
                self._first.add(name)
        self._specs.held = frozenset(held)
        self._first.update(self._controls.names())
        self._first.update(recorded_jobs(self._volume, {name for name, _ in self._roster.items()}))

    def _begin(self) -> None:
        self._run(self._beat, "heartbeat")
        self._engine_watches[0].list_containers()  # the others are not waited for
        self._first.update(name for name, _ in self._roster.items() if self._specs.has_lost(name))
        for name in self._first:
            self._queue.add(name)
        for number in range(sum(workers_of(self._file).values())):
            self._run(self._work, f"worker-{number}")
        self._run(self._keep_time, "timekeeper")
        for host, watch in zip(self._hosts, self._engine_watches, strict=True):
            self._run(watch.listen, f"events-{host.name}")
            self._run(watch.ask, f"ping-{host.name}")

    def _run(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End within some seconds; jobs go on."""
        self._stopping.set()
        self._watch.stop()
        self._queue.close()
        until = time.monotonic() + END_SECONDS
        for thread in self._threads:
            if thread.name.startswith("worker-"):
                thread.join(max(0.0, until - time.monotonic()))
        for host in self._hosts:
            host.capture.stop()
        self._lock.release()

    def stop_soon(self) -> None:
        """Ask for the end; safe in a signal handler."""
        self._stopping.set()

    def wait(self) -> None:
        """Return when it is to stop."""
        while not self._stopping.wait(3600):
            pass

    # -- threads -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            is_failed = False
            try:
                self._reconciler.handle(name)
            except Exception as error:  # the work queue is the one place that survives whatever a handler does
                is_failed = True
                self._roster.block(name, True)  # if it waits: what it stumbles over must not keep all others waiting
                expected = isinstance(error, EngineError | OSError)
                logger.log(logging.WARNING, "job %s: tried again: %s", name, error, exc_info=not expected)
            self._queue.done(name, failed=is_failed)
            self._note_first(name)

    def _note_first(self, name: str) -> None:
        if self.is_synced:
            return
        with self._first_lock:
            self._first.discard(name)
            self.is_synced = not self._first and self._engine_watches[0].was_listed
        if self.is_synced:
            with contextlib.suppress(OSError):  # it is told again in a moment
                self._heartbeat()

    def _beat(self) -> None:
        """Tell that the operator lives, whatever the engine keeps the others waiting for."""
        while not self._stopping.is_set():
            if not self._lock.is_kept():
                self.stop_soon()
                return
            try:
                self._heartbeat()
            except OSError as error:
                logger.error("cannot tell that the operator lives: %s", error)
            self._stopping.wait(HEARTBEAT_EVERY)

    def _keep_time(self) -> None:
        next_resync = time.monotonic() + (0 if self._importer.is_pending else self._settings.resync_seconds)
        next_registry = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            try:
                if self._scan_wanted.is_set():
                    self._scan_wanted.clear()
                    self._specs.scan()
                self._note_first("")  # where there is no job, no worker ever tells
                if now >= next_registry:
                    next_registry = now + REGISTRY_EVERY
                    self._tell_rest()
                if now >= next_resync:
                    next_resync = now + self._settings.resync_seconds
                    self.resync()
            except Exception as error:  # nobody else resyncs: it must outlive whatever one look meets
                logger.error("the full pass: %s", error, exc_info=not isinstance(error, OSError))
            self._scan_wanted.wait(TICK)
            time.sleep(0.05)  # a burst of hints becomes one scan

    def resync(self) -> None:
        """The full pass that correctness rests on: specs, containers, statuses, wishes."""
        self._specs.scan()
        self._specs.guard()
        for watch in self._engine_watches:
            watch.want_listing()
        self._import()
        due = self._roster.due(MOST_WAITING) | set(self._roster.front())
        for name in due | set(self._controls.names()) | self._changed_behind_us():
            self._queue.add(name)

    def _changed_behind_us(self) -> set[str]:
        """Jobs whose status file was removed, or is of nobody we know."""
        there = set(self._statuses.names())
        return there ^ {name for name, _ in self._roster.items()}

    def _import(self) -> None:
        for status in self._importer.step(self._statuses.read):
            self._statuses.write(status, durable=True)
            self._roster.put(status.metadata.name, status)

    # -- hints ---------------------------------------------------------------------------------------------------

    def _hint(self, path: Path | None, is_complete: bool) -> None:
        if path is None:
            self._scan_wanted.set()
            self._wake_wishes()
        elif path.is_relative_to(self._volume.control):
            self._hint_control(path)
        elif path.is_relative_to(self._volume.specs):
            self._hint_specs(path, is_complete)
        else:
            for name in self._roster.blocked():
                self._queue.add(name)

    def _hint_specs(self, path: Path, is_complete: bool) -> None:
        source = path.relative_to(self._volume.specs).as_posix()
        if is_spec_file(source):
            self._specs.hint(source, is_complete)
        elif source == SENTINEL or "." not in path.name:
            self._scan_wanted.set()

    def _hint_control(self, path: Path) -> None:
        if path.suffix == ".json":
            self._queue.add(path.stem)
        elif path == self._volume.control:
            self._wake_wishes()
        else:
            self._specs.guard()

    def _wake_wishes(self) -> None:
        for name in self._controls.names():
            self._queue.add(name)

    def _scan_later(self, seconds: float) -> None:
        now = time.monotonic()
        with self._first_lock:
            if now < self._scan_due <= now + seconds:
                return  # thousands of files may ask at once: one scan looks at them all
            self._scan_due = now + seconds
        timer = threading.Timer(seconds, self._scan_wanted.set)
        timer.daemon = True
        timer.start()

    # -- telling -------------------------------------------------------------------------------------------------

    def _heartbeat(self) -> None:
        self._teller.heartbeat(
            watchMode=self._watch.mode,
            synced=self.is_synced,
            engine=self._teller.engine(self._hosts.local),
            hosts={host.name: self._teller.engine(host) for host in self._hosts},
            heldDeletions=sorted(self._specs.held),
            problems=[*self._specs.problems, *self._watch.problems],
        )

    def _tell_rest(self) -> None:
        self._teller.hosts(self._hosts)
        self._teller.images(self._hosts)
        if self._teller.jobs():  # the first in the line are told anew what stands between them and their turn
            for name in self._roster.front():
                self._queue.add(name)

    def _host_root(self) -> str:
        """The shared volume as the engine sees it; raises EngineUnreachable while that cannot be known."""
        if self._found_root is None:
            here = str(self._settings.shared_data.resolve())
            engine = self._hosts.local.engine
            self._found_root = self._settings.shared_data_host or engine.host_path(here) or here
        return self._found_root
