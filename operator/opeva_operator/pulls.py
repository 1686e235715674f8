"""Pulls: images are fetched beside everything else, one flight per image, each with a deadline."""

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from opeva_operator.engine import Engine, EngineUnreachable, PullFailed

logger = logging.getLogger(__name__)

AT_ONCE = 3
TRIES = 5  # of an unreachable registry: waits of 2, 4, 8 and 16 seconds between them
FIRST_PAUSE = 2.0


def _in_thread(fly: Callable[[], None], name: str) -> None:
    threading.Thread(target=fly, name=name, daemon=True).start()


@dataclass(frozen=True, slots=True)
class Landed:
    """The image is here since `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Missed:
    """The image could not be had by those who waited for it, as was known at `at`."""

    at: datetime
    message: str
    names: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(slots=True)
class Flight:
    """The image is being fetched for these jobs."""

    since: datetime
    names: set[str] = field(default_factory=set)
    last_try: str = ""


class Pulls:
    """Thread-safe; `wake` is called with each waiting job when its image's flight has ended."""

    def __init__(
        self,
        engine: Engine,
        wake: Callable[[str], None],
        now: Callable[[], datetime],
        timeout_seconds: float,
        pause: Callable[[float], None] = time.sleep,
        begin: Callable[[Callable[[], None], str], None] = _in_thread,
    ) -> None:
        self._engine, self._wake, self._now = engine, wake, now
        self._timeout, self._pause, self._begin = timeout_seconds, pause, begin
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
        self._results: dict[str, Landed | Missed] = {}
        self._places = threading.Semaphore(AT_ONCE)

    def result(self, image: str) -> Landed | Missed | Flight | None:
        """What is known of fetching the image; None when nobody tried."""
        with self._lock:
            return self._flights.get(image) or self._results.get(image)

    def want(self, image: str, name: str) -> Flight:
        """Have the image fetched, and the job woken then."""
        with self._lock:
            flight = self._flights.get(image)
            if flight is not None:
                flight.names.add(name)
                return flight
            flight = self._flights[image] = Flight(since=self._now(), names={name})
        self._begin(lambda: self._fly(image, flight), f"pull-{image[:30]}")
        return flight

    def _fly(self, image: str, flight: Flight) -> None:
        try:
            with self._places:
                result = self._fetch(image, flight)
        except Exception as error:  # whatever it is, nobody may wait for this flight for ever
            logger.exception("image %s", image)
            flight.last_try = str(error)
            result = Missed(self._now(), f"cannot get the image {image!r}: {error}")
        with self._lock:
            if isinstance(result, Missed):
                result = replace(result, names=frozenset(flight.names))
            if result is not None:
                self._results[image] = result
            del self._flights[image]
        logger.info("image %s: %s", image, "is here" if isinstance(result, Landed) else flight.last_try)
        for name in flight.names:
            self._wake(name)

    def _fetch(self, image: str, flight: Flight) -> Landed | Missed | None:
        """None when the engine itself does not answer: that says nothing about the image."""
        end = time.monotonic() + self._timeout
        for attempt in itertools.count(1):
            try:
                self._engine.pull(image, max(1.0, end - time.monotonic()))
                return Landed(self._now())
            except (PullFailed, EngineUnreachable) as error:
                kind = error.kind if isinstance(error, PullFailed) else "unreachable"
                flight.last_try = f"{kind}: {error}"
                is_known = isinstance(error, PullFailed)
            pause = FIRST_PAUSE * 2 ** (attempt - 1)
            if kind != "unreachable" or attempt == TRIES or time.monotonic() + pause > end:
                break
            self._pause(pause)
        return Missed(self._now(), f"cannot get the image {image!r}: {flight.last_try}") if is_known else None
