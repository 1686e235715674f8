"""How far the run is, told in a file that clients poll."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from citylearn_job.folder import replace_json

EVERY_STEPS = 5
EVERY_SECONDS = 1.0


class Status(StrEnum):
    """What the run is doing, in the words that clients know."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of the run; steps and episodes are counted from 1 once done, 0 means none yet."""

    status: Status = Status.INITIALIZING
    episode: int = 0
    episodes: int = 0
    step: int = 0
    steps: int = 0
    reward: float = 0.0
    error: str | None = None

    @property
    def total(self) -> int:
        return self.episodes * self.steps

    @property
    def done(self) -> int:
        return max(0, self.episode - 1) * self.steps + self.step

    @property
    def percent(self) -> float:
        return round(100 * self.done / self.total, 4) if self.total else 0.0

    def document(self, now: datetime) -> dict[str, object]:
        """Returns what the file says; totals are left out until the data set is loaded."""
        told: dict[str, object] = {
            "status": self.status.value,
            "step": self.done,
            "percent": self.percent,
            "progress_pct": self.percent,
            "episode_current": self.episode,
            "step_current": self.step,
            "timestamp": now.isoformat().replace("+00:00", "Z"),
        }
        if self.total:
            told |= {"total": self.total, "global_step_total": self.total}
            told |= {"episode_total": self.episodes, "step_total": self.steps}
        if math.isfinite(self.reward):
            told["reward"] = round(self.reward, 6)
        if self.error is not None:
            told["error"] = self.error
        return told


class ProgressFile:
    """Writes the progress every few steps, and at once when the status changes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._written_at = -math.inf
        self._written: Progress | None = None
        self.latest = Progress()

    def tell(self, progress: Progress) -> None:
        """Remembers this progress, and writes it when it is due."""
        self.latest = progress
        now = self._clock()
        if is_due(self._written, progress, now - self._written_at):
            replace_json(self._path, progress.document(datetime.now(UTC)))
            self._written, self._written_at = progress, now

    def end(self, status: Status, error: str | None = None) -> None:
        """Writes how the run ended, with the step it had reached."""
        self.tell(replace(self.latest, status=status, error=error))


def is_due(written: Progress | None, latest: Progress, waited: float) -> bool:
    """Says whether readers should see the latest progress now."""
    if written is None or latest.status is not written.status:
        return True
    return latest.done - written.done >= EVERY_STEPS or waited >= EVERY_SECONDS
