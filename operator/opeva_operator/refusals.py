"""What an engine's refusal to start a job means, and how long one that may pass is borne with."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from opeva_specs.status import Reason

_SIGNS = (
    (
        Reason.BAD_MOUNT,
        r"invalid mount|bind source path|error mounting|mount destination|mounts? denied|not a directory",
    ),
    (
        Reason.BAD_COMMAND,
        r"executable file not found|exec format error|exec: |starting container process|no command specified"
        r"|unable to start container process|working directory",
    ),
)


def start_failure(words: str) -> Reason:
    """The reason of a failed start, by the engine's words."""
    told = words.lower()
    return next((reason for reason, signs in _SIGNS if re.search(signs, told)), Reason.START_FAILED)


class Refusals:
    """Since when each job has been refused again and again by an engine that may come to its senses."""

    def __init__(self, patience_seconds: float, clock: Callable[[], datetime]) -> None:
        self._patience, self._clock = timedelta(seconds=patience_seconds), clock
        self._since: dict[str, tuple[datetime | None, datetime]] = {}

    def is_final(self, name: str, opened_at: datetime | None) -> bool:
        """Take note of one more refusal of the attempt opened then; whether they have lasted long enough."""
        now = self._clock()
        known, since = self._since.get(name, (None, now))
        if known != opened_at:  # an earlier attempt was canceled while it was being refused
            since = now
        self._since[name] = opened_at, since
        return now - since >= self._patience

    def forget(self, name: str) -> None:
        """The job was started, or has ended."""
        self._since.pop(name, None)
