"""Job names to look at: each at most once in the queue, each handled by one worker at a time.

A name added while it is being handled is handled again afterwards; of several waits the earliest counts; a name whose
handling failed comes back after a growing, jittered pause. Names of one lane have so many workers at most: a machine
that keeps its own names waiting keeps no others waiting.
"""

import heapq
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 60.0


def backoff(failures: int, jitter: float) -> float:
    """Seconds to wait after so many failures in a row; `jitter` from 0 to 1 spreads them over half a step."""
    step: float = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures - 1, 20))
    return step * (0.75 + 0.5 * jitter)


class WorkQueue:
    """Thread-safe; `monotonic` and `jitter` are arguments so that tests own time and chance.

    `lane_of` is asked for each name that is added; a lane that `workers` does not name has no limit.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        *,
        lane_of: Callable[[str], str] = lambda name: "",
        workers: Mapping[str, int] | None = None,
    ) -> None:
        self._monotonic, self._jitter = monotonic, jitter
        self._lane_of, self._workers = lane_of, workers or {}
        self._ready = threading.Condition()
        self._due: dict[str, float] = {}
        self._heaps: dict[str, list[tuple[float, int, str]]] = {}
        self._order = 0
        self._held: dict[str, str] = {}
        self._busy: Counter[str] = Counter()
        self._failures: dict[str, int] = {}
        self._is_closed = False

    def add(self, name: str, after: float = 0.0) -> None:
        """Have the name looked at, in `after` seconds at the latest."""
        lane = self._lane_of(name)
        with self._ready:
            due = self._monotonic() + max(0.0, after)
            if self._due.get(name, float("inf")) <= due:
                return
            self._due[name] = due
            self._order += 1
            heapq.heappush(self._heaps.setdefault(lane, []), (due, self._order, name))
            self._ready.notify()

    def get(self, timeout: float | None = None) -> str | None:
        """The next name that is due and in nobody's hands; None when closed or after `timeout` seconds."""
        end = None if timeout is None else self._monotonic() + timeout
        with self._ready:
            while not self._is_closed:
                name, wait = self._take_any()
                if name is not None:
                    return name
                left = None if end is None else end - self._monotonic()
                if left is not None and left <= 0:
                    return None
                waits = [w for w in (wait, left) if w is not None]
                self._ready.wait(min(waits) if waits else None)
            return None

    def _take_any(self) -> tuple[str | None, float | None]:
        """A name of the lane that waits longest and has a worker left, or the seconds until there may be one."""
        waits = []
        free = [(heap[0], lane) for lane, heap in self._heaps.items() if heap and self._has_worker(lane)]
        for _, lane in sorted(free):
            name, wait = self._take(self._heaps[lane])
            if name is not None:
                self._held[name] = lane
                self._busy[lane] += 1
                return name, None
            waits += [wait] if wait is not None else []
        return None, min(waits, default=None)

    def _has_worker(self, lane: str) -> bool:
        return lane not in self._workers or self._busy[lane] < self._workers[lane]

    def _take(self, heap: list[tuple[float, int, str]]) -> tuple[str | None, float | None]:
        now = self._monotonic()
        passed: list[tuple[float, int, str]] = []
        taken = None
        while heap and taken is None and heap[0][0] <= now:
            item = heapq.heappop(heap)
            if self._due.get(item[2]) != item[0]:
                continue  # an earlier wait took its place
            if item[2] in self._held:
                passed.append(item)
                continue
            taken = item[2]
            del self._due[taken]
        waits = [item[0] - now for item in heap[:1]]  # a held name comes back when it is given back
        for item in passed:
            heapq.heappush(heap, item)
        return taken, max(0.0, waits[0]) if waits else None

    def done(self, name: str, *, failed: bool = False) -> float:
        """Give the name back; a failed one returns by itself, after the seconds that are returned."""
        with self._ready:
            if (lane := self._held.pop(name, None)) is not None:
                self._busy[lane] -= 1
            self._ready.notify_all()
            if not failed:
                self._failures.pop(name, None)
                return 0.0
            self._failures[name] = self._failures.get(name, 0) + 1
            pause = backoff(self._failures[name], self._jitter())
        self.add(name, pause)
        return pause

    def failures(self, name: str) -> int:
        """How often in a row the handling of the name has failed."""
        with self._ready:
            return self._failures.get(name, 0)

    def close(self) -> None:
        """Wake every worker with None."""
        with self._ready:
            self._is_closed = True
            self._ready.notify_all()

    def __len__(self) -> int:
        with self._ready:
            return len(self._due) + len(self._held)
