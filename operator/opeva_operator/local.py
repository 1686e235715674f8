"""The operator on one machine: all wiring, in the order in which it starts."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from opeva_operator import handlers
from opeva_operator.acceptance import Acceptance
from opeva_operator.actions import Actions
from opeva_operator.capture import Capture
from opeva_operator.engine import Engine, EngineError, EngineUnreachable
from opeva_operator.gate import Gatekeeper
from opeva_operator.imported import Importer, keep_copy
from opeva_operator.lock import HolderLock, heartbeat_age
from opeva_operator.pulls import Pulls
from opeva_operator.reconciler import Parts, Reconciler
from opeva_operator.roster import Roster
from opeva_operator.specwatch import SpecWatch
from opeva_operator.tell import Teller
from opeva_operator.workqueue import WorkQueue
from opeva_specs.settings import Settings, SettingsError, load_settings
from opeva_specs.specfiles import SpecStore, is_spec_file
from opeva_specs.status import JobStatus
from opeva_specs.store import ControlStore, Damaged, EventLog, StatusStore
from opeva_specs.volume import SENTINEL, SharedVolume
from opeva_specs.watch import DirectoryWatch

logger = logging.getLogger(__name__)

WORKERS = 8
TICK = 1.0
HEARTBEAT_EVERY = 2.0
REGISTRY_EVERY = 5.0
PING_EVERY = 5.0
API_UID = 10001
API_FOLDERS = ("specs/api", "control", "configs", "datasets")


def utc_now() -> datetime:
    """The operator's clock."""
    return datetime.now(UTC)


class Operator:
    """Everything that runs; `start` returns when the volume is held and the first look is under way."""

    def __init__(
        self, settings: Settings, make_engine: Callable[[str], Engine], clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._settings, self._clock = settings, clock
        self._volume = SharedVolume(settings.shared_data)
        self._make_engine = make_engine
        self._lock = HolderLock(self._volume)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._scan_wanted = threading.Event()
        self._first: set[str] = set()
        self._first_lock = threading.Lock()
        self._is_listed = False
        self.is_synced = False

    def start(self) -> bool:
        """Wait for the volume, then begin; False when it was stopped while waiting."""
        self._volume.make_folders()
        _hand_over(self._volume)
        if not self._lock.wait(self._stopping.is_set, lambda seconds: void(self._stopping.wait(seconds))):
            return False
        instance = identify(self._volume)
        self._volume.remove_tree(".trash")
        self._build(instance)
        self._load()
        self._watch.start()
        self._specs.scan()
        self._begin()
        return True

    def _build(self, instance: str) -> None:
        """Every part, and who knows whom."""
        settings, volume, clock = self._settings, self._volume, self._clock
        self._engine = self._make_engine(instance)
        self._queue = WorkQueue()
        self._roster = Roster(settings.max_concurrent_jobs, self._queue.add)
        self._statuses, self._controls = StatusStore(volume), ControlStore(volume)
        store = SpecStore(volume, instance, self._roster.known)
        self._specs = SpecWatch(store, volume, self._roster, self._queue.add, clock, self._scan_later)
        acceptance = Acceptance(volume, settings)
        self._capture = Capture(self._engine, volume)
        pulls = Pulls(self._engine, self._queue.add, clock, settings.pull_timeout_seconds)
        gatekeeper = Gatekeeper(acceptance, self._engine, pulls, self._roster, volume, settings)
        actions = Actions(
            settings=settings, instance=instance, host_root=self._host_root, engine=self._engine, volume=volume,
            specs=self._specs, acceptance=acceptance, gatekeeper=gatekeeper, pulls=pulls, capture=self._capture,
            clock=clock,
        )  # fmt: skip
        parts = Parts(
            settings=settings, instance=instance, engine=self._engine, specs=self._specs, statuses=self._statuses,
            controls=self._controls, events=EventLog(volume), roster=self._roster, queue=self._queue,
            gatekeeper=gatekeeper, actions=actions, clock=clock,
        )  # fmt: skip
        self._reconciler = Reconciler(parts)
        actions.expect, actions.forget = self._reconciler.expect, self._reconciler.forget
        self._teller = Teller(volume, settings, instance, self._roster, clock)
        self._importer = Importer(volume, self._engine, clock)
        self._watch = DirectoryWatch(
            [volume.specs, volume.control, volume.root / "configs"],
            self._hint,
            poll_seconds=settings.poll_seconds,
            canary=volume.control / ".canary",
        )

    def _load(self) -> None:
        """What earlier runs of the operator knew."""
        for name in self._statuses.names():
            try:
                status = self._statuses.read(name)
            except Damaged:
                self._first.add(name)
                continue
            if status is None:
                continue
            self._roster.put(name, status)
            if not status.status.phase.is_terminal or _wants_more(status):
                self._first.add(name)
        self._first.update(self._controls.names())
        self._first.update(_names_of_records(self._volume) - {name for name, _ in self._roster.items()})

    def _begin(self) -> None:
        self._list_containers()
        self._first.update(name for name, _ in self._roster.items() if self._specs.has_lost(name))
        for name in self._first:
            self._queue.add(name)
        for number in range(WORKERS):
            self._run(self._work, f"worker-{number}")
        self._run(self._keep_time, "timekeeper")
        self._run(self._listen, "engine-events")
        self._run(self._ping, "engine-ping")

    def _run(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End within some seconds; jobs go on."""
        self._stopping.set()
        if not hasattr(self, "_queue"):
            return
        self._watch.stop()
        self._queue.close()
        for thread in self._threads[:WORKERS]:
            thread.join(8.0 / WORKERS)
        self._capture.stop()
        self._lock.release()

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
                expected = isinstance(error, EngineError | OSError)
                logger.log(logging.WARNING, "job %s: tried again: %s", name, error, exc_info=not expected)
            self._queue.done(name, failed=is_failed)
            self._note_first(name)

    def _note_first(self, name: str) -> None:
        if self.is_synced:
            return
        with self._first_lock:
            self._first.discard(name)
            self.is_synced = not self._first and self._is_listed
        if self.is_synced:
            self._heartbeat()

    def _keep_time(self) -> None:
        next_resync = time.monotonic() + self._settings.resync_seconds
        next_heartbeat = next_registry = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            try:
                if self._scan_wanted.is_set():
                    self._scan_wanted.clear()
                    self._specs.scan()
                if now >= next_heartbeat:
                    next_heartbeat = now + HEARTBEAT_EVERY
                    self._heartbeat()
                if now >= next_registry:
                    next_registry = now + REGISTRY_EVERY
                    self._tell_rest()
                if now >= next_resync:
                    next_resync = now + self._settings.resync_seconds
                    self.resync()
            except OSError as error:
                logger.error("the shared volume: %s", error)
            self._scan_wanted.wait(TICK)
            time.sleep(0.05)  # a burst of hints becomes one scan

    def resync(self) -> None:
        """The full pass that correctness rests on: specs, containers, statuses, wishes."""
        self._specs.scan()
        self._specs.guard()
        self._list_containers()
        self._import()
        for name in self._roster.active() | set(self._controls.names()) | self._changed_behind_us():
            self._queue.add(name)

    def _changed_behind_us(self) -> set[str]:
        """Jobs whose status file was removed, or is of nobody we know."""
        there = set(self._statuses.names())
        return there ^ {name for name, _ in self._roster.items()}

    def _list_containers(self) -> None:
        try:
            containers = self._reconciler.list_containers()
        except EngineError as error:
            self._reconciler.lost_engine(error)
            return
        for container in containers:
            self._queue.add(container.job)
        self._is_listed = True
        self._note_first("")

    def _import(self) -> None:
        for status in self._importer.step(self._statuses.read):
            self._statuses.write(status, durable=True)
            self._roster.put(status.metadata.name, status)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with contextlib.closing(self._engine.events()) as stream:
                    self._list_containers()  # what happened before the stream was open
                    for event in stream:
                        self._queue.add(event.job)
                        if self._stopping.is_set():
                            return
            except EngineError:
                self._stopping.wait(1.0)

    def _ping(self) -> None:
        while not self._stopping.wait(PING_EVERY):
            was_lost = self._reconciler.engine_trouble is not None
            try:
                self._engine.ping()
            except EngineUnreachable as error:
                self._reconciler.lost_engine(error)
                if not was_lost:
                    self._wake_active()
                continue
            if was_lost:
                logger.info("the engine answers")
                self._list_containers()
                self._wake_active()

    def _wake_active(self) -> None:
        for name in self._roster.active():
            self._queue.add(name)

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
        timer = threading.Timer(seconds, self._scan_wanted.set)
        timer.daemon = True
        timer.start()

    # -- telling -------------------------------------------------------------------------------------------------

    def _heartbeat(self) -> None:
        self._teller.heartbeat(
            watchMode=self._watch.mode,
            synced=self.is_synced,
            engine=self._reconciler.describe(),
            heldDeletions=sorted(self._specs.held),
            problems=[*self._specs.problems, *self._watch.problems],
        )

    def _tell_rest(self) -> None:
        self._teller.hosts(self._reconciler.engine_trouble is None, {})
        self._teller.queue()
        self._teller.registry()

    def _host_root(self) -> str:
        """The shared volume as the engine sees it; raises EngineUnreachable while that cannot be known."""
        if self._settings.shared_data_host:
            return self._settings.shared_data_host
        found = self._engine.host_path(str(self._settings.shared_data))
        return found or str(self._settings.shared_data.resolve())


def void(_: Any) -> None:
    """Forget a value."""


def identify(volume: SharedVolume) -> str:
    """The random id of the volume, made on the first start together with the sentinel in `specs/`."""
    try:
        return str(orjson.loads(volume.read("state/instance.json", 4096))["id"])
    except FileNotFoundError:
        pass
    try:
        instance = volume.read(f"specs/{SENTINEL}", 256).decode("ascii", "replace").strip()
    except FileNotFoundError:
        instance = uuid.uuid4().hex
        volume.write(f"specs/{SENTINEL}", f"{instance}\n".encode(), durable=True)
    keep_copy(volume)
    volume.write("state/instance.json", orjson.dumps({"id": instance}), durable=True)
    return instance


def _wants_more(status: JobStatus) -> bool:
    intent = status.status.intent
    return intent is not None and intent.then_delete and not status.status.hidden


def _names_of_records(volume: SharedVolume) -> set[str]:
    """Jobs that have events: those without a status are rebuilt from them."""
    folder = volume.root / "state" / "jobs"
    return {entry.name for entry in os.scandir(folder) if (folder / entry.name / "events.jsonl").exists()}


def _hand_over(volume: SharedVolume) -> None:
    """The API runs unprivileged: what it may write belongs to it."""
    if os.geteuid() != 0:
        return
    for folder in API_FOLDERS:
        path = volume.root / folder
        if path.stat().st_uid == 0:
            os.chown(path, API_UID, API_UID)


def _check(volume: SharedVolume) -> int:
    """For health checks of containers: 0 when the operator was heard of within 30 seconds."""
    age = heartbeat_age(volume)
    if age.total_seconds() < 30:
        return 0
    print("the operator has not been heard of for 30 seconds", file=sys.stderr)
    return 1


def main() -> None:
    """Run the operator until SIGTERM or SIGINT; `--check` asks whether one is running."""
    parser = argparse.ArgumentParser(prog="opeva-operator", description="Makes the job specs of a volume true.")
    parser.add_argument("--check", action="store_true", help="exit 0 if an operator is alive on the volume")
    arguments = parser.parse_args()
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"opeva-operator: {error}")
    if arguments.check:
        sys.exit(_check(SharedVolume(settings.shared_data)))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(run(settings))


def run(settings: Settings) -> int:
    """Start the operator, and end it when told to."""
    from opeva_operator.docker_engine import DockerEngine

    handlers.created  # noqa: B018 - importing the module registers the handlers

    def make_engine(instance: str) -> Engine:
        timeout = settings.engine_timeout_seconds
        return DockerEngine(instance, docker_host=settings.docker_host, timeout_seconds=timeout)

    operator = Operator(settings, make_engine)

    def end(number: int, frame: FrameType | None) -> None:
        logger.info("ending; jobs go on")
        operator._stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        if operator.start():
            logger.info("watching %s", settings.shared_data)
            operator.wait()
    except OSError as error:
        print(f"opeva-operator: cannot use {settings.shared_data}: {error}", file=sys.stderr)
        return 1
    operator.stop()
    return 0


if __name__ == "__main__":
    main()
