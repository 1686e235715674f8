"""What the operator tells about itself: heartbeat, host, queue, and the registry that older clients read."""

import os
import socket
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from opeva_operator.launch import container_name
from opeva_operator.roster import Roster
from opeva_specs.settings import Settings
from opeva_specs.status import Phase, rfc3339
from opeva_specs.volume import SharedVolume


class Teller:
    """Writes the derived files; each only when it changed, the heartbeat always."""

    def __init__(
        self,
        volume: SharedVolume,
        settings: Settings,
        instance: str,
        roster: Roster,
        clock: Callable[[], datetime],
    ) -> None:
        self._volume, self._settings, self._instance = volume, settings, instance
        self._roster, self._clock = roster, clock
        self._started_at = clock()
        self._last: dict[str, bytes] = {}
        self._told_changes = -1

    def heartbeat(self, **facts: Any) -> None:
        """`state/operator.json`: who holds the volume, and how it fares."""
        told = {
            "holder": {"pid": os.getpid(), "host": socket.gethostname()},
            "instance": self._instance,
            "startedAt": rfc3339(self._started_at),
            "heartbeat": rfc3339(self._clock()),
            **facts,
        }
        self._write("state/operator.json", told)

    def hosts(self, is_online: bool, engine: dict[str, Any]) -> None:
        """`state/hosts.json`: the one host there is."""
        active = sorted(self._roster.running())
        seen = rfc3339(self._clock()) if is_online else self._last_seen()
        info = {"max_active_jobs": self._settings.max_concurrent_jobs, **engine}
        local = {"online": is_online, "lastSeen": seen, "running": len(active), "activeJobIds": active, "info": info}
        self._write("state/hosts.json", {"local": local})

    def _last_seen(self) -> str | None:
        last = self._last.get("state/hosts.json")
        found: str | None = orjson.loads(last)["local"]["lastSeen"] if last else None
        return found

    def jobs(self) -> bool:
        """The files that list jobs; nothing is done while no job has changed. Whether any has."""
        changes = self._roster.changes
        if changes == self._told_changes:
            return False
        self._queue()
        self._registry()
        self._told_changes = changes
        return True

    def _queue(self) -> None:
        """`state/queue.json`: who waits, in order."""
        waiting = [(entry.queued_at, name) for name, entry in self._roster.items() if entry.phase is Phase.QUEUED]
        rows = [{"job_id": name, "queued_at": rfc3339(queued_at)} for queued_at, name in sorted(waiting)]
        self._write("state/queue.json", rows)

    def _registry(self) -> None:
        """`job_track.json`: what the old system kept of each job."""
        rows = {
            name: {
                "container_id": entry.container_id,
                "container_name": container_name(self._instance, name),
                "target_host": "local",
                "job_name": entry.job_name,
                "status": entry.phase.word,
            }
            for name, entry in sorted(self._roster.items())
            if not entry.hidden
        }
        self._write("job_track.json", rows)

    def _write(self, path: str, value: Any) -> None:
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2)
        if self._last.get(path) == data:
            return
        self._volume.write(path, data, durable=False)
        self._last[path] = data
