"""Docker hosts: what is known of each, and whether jobs may run there.

Unknown is not absent: a host that does not answer changes no outcome, and keeps no job of another host waiting. Only
the thread that asks from time to time asks a host that keeps others waiting.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from opeva_operator.capture import Capture
from opeva_operator.engine import Container, Engine, EngineError, EngineInfo, EngineUnreachable, ImageTag
from opeva_operator.probing import capacity_of, unusable
from opeva_operator.pulls import Pulls
from opeva_operator.situation import Unreachable
from opeva_specs.admission import Capacity
from opeva_specs.hostsfile import LOCAL, HostEntry
from opeva_specs.settings import Settings
from opeva_specs.status import JobStatus
from opeva_specs.volume import SharedVolume

logger = logging.getLogger(__name__)

SLOW = 1.0  # seconds: whoever asks an engine that keeps others waiting this long would wait as well
ANSWERS_EVERY = timedelta(seconds=5)
Found = Container | Unreachable | None
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every host needs of the operator."""

    settings: Settings
    instance: str
    volume: SharedVolume
    clock: Callable[[], datetime]
    wake: Callable[[str], None]
    wake_all: Callable[[str, float], None]  # have the active jobs of a host looked at, after so many seconds
    set_capacity: Callable[[str, Capacity | None], None]


@dataclass(slots=True)
class Facts:
    """What was learned of a host's machine; each field is replaced as a whole, so that any thread may read it."""

    info: EngineInfo | None = None
    clock_offset: timedelta = timedelta(0)  # its clock minus ours
    images: Sequence[ImageTag] = ()
    last_seen: datetime | None = None
    unusable: str | None = "it was not looked at yet"
    capacity: Capacity | None = None
    asked_images: float = field(default=-1e9)


class Host:
    """One engine, and what is known of its containers; thread-safe."""

    def __init__(
        self,
        entry: HostEntry,
        engine: Engine,
        parts: Surroundings,
        *,
        root: Callable[[], str],
        pulls: Pulls,
        capture: Capture,
        boot_id: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.name, self.labels, self._entry = entry.name, entry.labels, entry
        self.engine, self.pulls, self.capture, self.root, self.boot_id = engine, pulls, capture, root, boot_id
        self.facts = Facts()
        self.trouble: str | None = "not asked yet"
        self._parts = parts
        self._lock = threading.Lock()
        self._looking = threading.Lock()  # two probes at a time would remove each other
        self._maybe: set[str] = set()  # jobs that may have a container
        self._is_listed = False  # until it is, every job may have one
        self._is_frozen = entry.name != LOCAL  # then only the thread that asks from time to time asks it
        self._answered_at: datetime | None = None

    # -- its containers ------------------------------------------------------------------------------------------

    def list_containers(self) -> list[Container]:
        """Every container of ours; from then on jobs that have none need not be asked for. Raises EngineError."""
        found = [replace(container, host=self.name) for container in self._asked(self.engine.list)]
        with self._lock:
            self._maybe |= {container.job for container in found}
            self._is_listed = True
        self.answers()
        return found

    def may_hold(self, job: str) -> bool:
        """Whether a container of that job was seen here, or is being made."""
        with self._lock:
            return job in self._maybe

    def find(self, job: str, container_name: str, *, surely: bool = False) -> Found:
        """The job's container; None means surely gone."""
        with self._lock:
            may_exist = surely or not self._is_listed or job in self._maybe
        if self._is_frozen:  # whether or not somebody took note of that already
            return Unreachable(self.words)
        if not may_exist:
            return Unreachable(self.words) if self.trouble else None
        try:
            found = self._asked(lambda: self.engine.find(container_name))
        except EngineUnreachable as error:
            return self.lost(error)
        self.answers()
        with self._lock:
            (self._maybe.discard if found is None else self._maybe.add)(job)
        return None if found is None else replace(found, host=self.name)

    def expect(self, job: str) -> None:
        """A container of that job is about to be made: ask the engine for it from now on."""
        with self._lock:
            self._maybe.add(job)

    # -- whether it answers --------------------------------------------------------------------------------------

    @property
    def words(self) -> str:
        """Why it cannot be reached; of another host than the operator's own with its name."""
        trouble = self.trouble or "does not answer"
        return trouble if self.name == LOCAL else f"host {self.name!r}: {trouble}"

    def ping(self) -> None:
        """Return when it answers. Raises EngineError."""
        self._asked(self.engine.ping)

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        """The answer; who waits in vain for one saves the others from doing so."""
        began = time.monotonic()
        try:
            return question()
        except EngineUnreachable:
            self._is_frozen = time.monotonic() - began >= SLOW
            raise

    def answers(self) -> None:
        """Whoever hears of the engine first has everything looked at that waited for it."""
        self._is_frozen = False
        now, before = self._parts.clock(), self._answered_at
        self.facts.last_seen = now
        if self.trouble is None:
            return
        self.trouble = None
        self._answered_at = now
        logger.info("the engine answers" if self.name == LOCAL else f"the engine of host {self.name} answers")
        is_often = before is not None and now - before < ANSWERS_EVERY  # it answers to some questions, not to others
        self._parts.wake_all(self.name, ANSWERS_EVERY.total_seconds() if is_often else 0.0)

    def lost(self, error: EngineError) -> Unreachable:
        """The engine did not answer: take note, change no outcome."""
        if self.trouble is None:
            logger.warning("the engine of host %s does not answer: %s", self.name, error)
        self.trouble = str(error)
        return Unreachable(self.words)

    # -- whether jobs may run there ------------------------------------------------------------------------------

    def look(self) -> None:
        """Learn what there is, how its clock goes, and whether it has our volume. Raises EngineError."""
        with self._looking:
            began = self._parts.clock()
            info = self._asked(self.engine.info)
            self.facts.clock_offset = info.at - (began + (self._parts.clock() - began) / 2)
            self.facts.info = info
            is_changed = self.facts.unusable is not None and self._probe()
            is_usable = self.facts.unusable is None
            capacity = capacity_of(self._entry, info, self._parts.settings) if is_usable else None
            if capacity != self.facts.capacity:
                is_changed, self.facts.capacity = True, capacity
                self._parts.set_capacity(self.name, capacity)
        if is_changed:
            self._parts.wake_all(self.name, 0.0)

    def _probe(self) -> bool:
        """Look whether it has our volume; whether something else is to be told of it now."""
        before, found = self.facts.unusable, unusable(self.engine, self.root(), self._parts.instance)
        self.facts.unusable = found
        if found is not None and found != before:
            logger.warning("host %s cannot be used: %s", self.name, found)
        return found != before

    def doubt(self, why: str = "it was away, and is looked at anew") -> None:
        """Its folder may be another one by now: no job starts there before it was looked at again."""
        with self._looking:
            self.facts.unusable = self.facts.unusable or why

    def look_again(self, why: str) -> str | None:
        """Doubt it and look at once; why it is unusable now. Raises EngineError."""
        self.doubt(why)
        self.look()
        return self.facts.unusable

    def forget_images(self) -> None:
        """An image came: ask anew at the next occasion."""
        self.facts.asked_images = -1e9

    def look_at_images(self, least_seconds: float) -> None:
        """Learn which images there are, unless that was asked so short a time ago. Raises EngineError."""
        if time.monotonic() - self.facts.asked_images >= least_seconds:
            self.facts.images = self.engine.images()
            self.facts.asked_images = time.monotonic()


class Hosts:
    """The operator's own host, and those of the hosts file."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = {host.name: host for host in hosts}

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    @property
    def local(self) -> Host:
        """The operator's own."""
        return self._hosts[LOCAL]

    def get(self, name: str) -> Host | None:
        """The host of that name, None if there is none."""
        return self._hosts.get(name)

    def names(self) -> list[str]:
        """All names, in order."""
        return sorted(self._hosts)

    def of(self, status: JobStatus | None) -> Host | None:
        """Where the job's open attempt is, or its next one will be; None: that host is not known any more."""
        if status is None:
            return self.local
        attempt = status.attempt
        return self.get(attempt.host if attempt is not None and attempt.is_open else status.status.host)

    def of_container(self, container: Container) -> Host:
        """Where a container is that was found."""
        return self._hosts[container.host]

    def find(self, job: str, status: JobStatus | None, container_name: str, *, surely: bool = False) -> Found:
        """The job's container, wherever it is; None means surely gone."""
        own = self.of(status)
        found = own.find(job, container_name, surely=surely) if own is not None else None
        if found is not None:
            return found
        others = (host for host in self if host is not own and host.may_hold(job))
        found = next((there for host in others if (there := host.find(job, container_name)) is not None), None)
        attempt = status.attempt if status else None
        if found is None and own is None and attempt is not None and attempt.is_open:
            return Unreachable(f"the hosts file has no host {attempt.host!r} any more, where it was started")
        return found
