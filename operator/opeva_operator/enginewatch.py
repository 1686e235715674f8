"""EngineWatch: what the engine tells by itself, and whether it still answers. Both only say which jobs to look at."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from opeva_operator.engine import EngineError, EngineUnreachable
from opeva_operator.hosts import Host
from opeva_operator.roster import Roster
from opeva_specs.hostsfile import LOCAL

logger = logging.getLogger(__name__)

PING_EVERY = 5.0
LOOK_EVERY = 60.0
LISTEN_EVERY = 1.0  # a stream that ends at once is not opened anew at once


class EngineWatch:
    """Two threads a host: one listens, one asks; a stream that ends or falls silent is followed by a new listing."""

    def __init__(self, host: Host, roster: Roster, wake: Callable[[str], None], stopping: threading.Event) -> None:
        self._host, self._roster = host, roster
        self._wake, self._stopping = wake, stopping
        self._looked_at = float("-inf")
        self._listing_wanted = threading.Event()
        self.was_listed = False

    def list_containers(self) -> None:
        """Have every job looked at that has a container there."""
        try:
            if self._host.facts.unusable is not None:
                self._look()  # first: whoever hears that the host answers wants to know whether it may be used
            containers = self._host.list_containers()
        except EngineError as error:
            self._host.lost(error)
            return
        for container in containers:
            self._wake(container.job)
        self.was_listed = True

    def want_listing(self) -> None:
        """Have the thread that asks list the containers soon: whoever wants that need not wait for the engine."""
        self._listing_wanted.set()

    def _look(self) -> None:
        """Learn about the host, but not all the time; raises EngineUnreachable."""
        if time.monotonic() - self._looked_at < LOOK_EVERY and self._host.facts.info is not None:
            return
        self._looked_at = time.monotonic()
        try:
            self._host.look()
            self._host.look_at_images(LOOK_EVERY)
        except EngineUnreachable:
            raise
        except Exception:  # what it tells may be anything, and its jobs go on without
            logger.exception("cannot learn about host %s", self._host.name)

    def listen(self) -> None:
        """Follow the engine's events until it is time to stop."""
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                with contextlib.closing(self._host.engine.events()) as stream:
                    self.list_containers()  # what happened before the stream was open
                    for event in stream:
                        self._wake(event.job)
                        if self._stopping.is_set():
                            return
            except EngineError:
                pass
            except Exception:  # what cannot be read is no reason to stop listening
                logger.exception("cannot follow the engine's events")
            pause = LISTEN_EVERY if self._host.trouble is None else PING_EVERY
            self._stopping.wait(max(0.0, began + pause - time.monotonic()))

    def ask(self) -> None:
        """Ask the engine from time to time whether it answers, until it is time to stop."""
        while not self._stopping.wait(PING_EVERY):
            was_lost = self._host.trouble is not None
            try:
                self._host.ping()
                if was_lost:
                    self._greet()
                    continue
                self._host.answers()
                self._look()
                if self._listing_wanted.is_set():
                    self._listing_wanted.clear()
                    self.list_containers()
            except EngineError as error:
                self._host.lost(error)
                if not was_lost:
                    self.wake_active()

    def _greet(self) -> None:
        """It is back: what is there, and is it still what it was?"""
        if self._host.name != LOCAL:  # the volume here is the operator's own
            self._host.doubt()
        self._looked_at = float("-inf")
        self.list_containers()

    def wake_active(self) -> None:
        """Have every job of this host looked at that has not ended."""
        for name in self._roster.active(self._host.name):
            self._wake(name)
