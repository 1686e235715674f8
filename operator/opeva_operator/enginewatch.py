"""EngineWatch: what the engine tells by itself, and whether it still answers. Both only say which jobs to look at."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from opeva_operator.engine import Engine, EngineError
from opeva_operator.reconciler import Reconciler
from opeva_operator.roster import Roster

logger = logging.getLogger(__name__)

PING_EVERY = 5.0
LISTEN_EVERY = 1.0  # a stream that ends at once is not opened anew at once


class EngineWatch:
    """Two threads: one listens to events, one asks; a stream that ends or falls silent is followed by a new listing."""

    def __init__(
        self,
        engine: Engine,
        reconciler: Reconciler,
        roster: Roster,
        wake: Callable[[str], None],
        stopping: threading.Event,
    ) -> None:
        self._engine, self._reconciler, self._roster = engine, reconciler, roster
        self._wake, self._stopping = wake, stopping
        self.was_listed = False

    def list_containers(self) -> None:
        """Have every job looked at that has a container."""
        try:
            containers = self._reconciler.list_containers()
        except EngineError as error:
            self._reconciler.lost_engine(error)
            return
        for container in containers:
            self._wake(container.job)
        self.was_listed = True

    def listen(self) -> None:
        """Follow the engine's events until it is time to stop."""
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                with contextlib.closing(self._engine.events()) as stream:
                    self.list_containers()  # what happened before the stream was open
                    for event in stream:
                        self._wake(event.job)
                        if self._stopping.is_set():
                            return
            except EngineError:
                pass
            except Exception:  # what cannot be read is no reason to stop listening
                logger.exception("cannot follow the engine's events")
            self._stopping.wait(max(0.0, began + LISTEN_EVERY - time.monotonic()))

    def ask(self) -> None:
        """Ask the engine from time to time whether it answers, until it is time to stop."""
        while not self._stopping.wait(PING_EVERY):
            was_lost = self._reconciler.engine_trouble is not None
            try:
                self._engine.ping()
            except EngineError as error:
                self._reconciler.lost_engine(error)
                if not was_lost:
                    self.wake_active()
                continue
            if was_lost:
                self.list_containers()

    def wake_active(self) -> None:
        """Have every job looked at that has not ended."""
        for name in self._roster.active():
            self._wake(name)
