"""Heart: what the operator last said of itself and of its hosts."""

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from opeva_api.standing import LOCAL
from opeva_specs.volume import SharedVolume

DEAD_AFTER_SECONDS = 30.0
LATE_AFTER_SECONDS = 15.0
_MAX_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One reading of `state/`; empty where nothing could be read."""

    operator: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, Any] = field(default_factory=dict)
    at: float | None = None

    def age(self, now: float) -> float | None:
        """Seconds since the operator's last sign of life, None when there never was one."""
        return None if self.at is None else max(now - self.at, 0.0)


class Heart:
    """The last good reading; it is renewed off the event loop."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume
        self._lock = threading.Lock()
        self.beat = Beat()

    def listen(self) -> None:
        """Read what the operator wrote; what cannot be read stays as it was."""
        with self._lock:
            operator = self._object("state/operator.json", self.beat.operator)
            hosts = self._object("state/hosts.json", self.beat.hosts)
            self.beat = Beat(operator=operator, hosts=hosts, at=epoch(operator.get("heartbeat")))

    def age(self) -> float | None:
        """Seconds since the operator's last sign of life, None when there never was one."""
        return self.beat.age(time.time())

    @property
    def is_dead(self) -> bool:
        """Whether the operator lived once and has been silent for long."""
        age = self.age()
        return age is not None and age > DEAD_AFTER_SECONDS

    @property
    def hosts(self) -> list[str]:
        """Names of all hosts that jobs may be pinned to."""
        return sorted({LOCAL, *self.beat.hosts})

    def _object(self, relative: str, last: dict[str, Any]) -> dict[str, Any]:
        try:
            found = orjson.loads(self._volume.read(relative, _MAX_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            return last
        return found if isinstance(found, dict) else last


def epoch(instant: Any) -> float | None:
    """Seconds since 1970 of an instant as the operator writes it; None of anything else."""
    try:
        return datetime.fromisoformat(instant).timestamp()
    except (TypeError, ValueError):
        return None
