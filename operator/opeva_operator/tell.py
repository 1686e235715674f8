"""What the operator tells about itself: heartbeat, host, queue, and the registry that older clients read."""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson

from opeva_operator.hosts import Host
from opeva_operator.launch import container_name
from opeva_operator.roster import Roster
from opeva_specs.settings import Settings
from opeva_specs.status import rfc3339
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
        self._told_images: list[dict[str, Any]] | None = None

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

    def engine(self, host: Host) -> dict[str, Any]:
        """What the heartbeat tells of a host."""
        return {
            "reachable": host.trouble is None,
            "message": host.trouble or host.facts.unusable or "",
            "usable": host.trouble is None and host.facts.unusable is None,
            "at": rfc3339(self._clock()),
        }

    def hosts(self, hosts: Iterable[Host]) -> None:
        """`state/hosts.json`: every host, what it gives, and what it does."""
        self._write("state/hosts.json", {host.name: self._host(host) for host in hosts})

    def _host(self, host: Host) -> dict[str, Any]:
        active, facts, capacity = sorted(self._roster.running(host.name)), host.facts, host.facts.capacity
        machine = (
            {"cpus": facts.info.cpus, "memory": facts.info.memory, "engine": facts.info.version} if facts.info else {}
        )
        return {
            "online": host.trouble is None,
            "usable": host.trouble is None and facts.unusable is None,
            "message": host.trouble or facts.unusable or "",
            "lastSeen": self._seen(host),
            "running": len(active),
            "activeJobIds": active,
            "labels": dict(host.labels),
            "capacity": asdict(capacity) if capacity else None,
            "clockOffsetSeconds": round(facts.clock_offset.total_seconds(), 1),
            "info": {"max_active_jobs": capacity.jobs if capacity else self._settings.max_concurrent_jobs, **machine},
        }

    def _seen(self, host: Host) -> str | None:
        if host.trouble is None:
            return rfc3339(self._clock())
        last = self._last.get("state/hosts.json")
        found: str | None = orjson.loads(last).get(host.name, {}).get("lastSeen") if last else None
        return found

    def images(self, hosts: Iterable[Host]) -> None:
        """`state/images.json`: every name of an image, and the hosts that have it."""
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for host in hosts:
            for tag in host.facts.images:
                row = rows.setdefault(
                    (tag.name, tag.id),
                    {
                        "name": tag.name,
                        "id": tag.id,
                        "digest": tag.digest,
                        "created": rfc3339(tag.created_at),
                        "hosts": [],
                    },
                )
                row["hosts"].append(host.name)
        images = [rows[key] for key in sorted(rows)]
        if images != self._told_images:
            self._write("state/images.json", {"at": rfc3339(self._clock()), "images": images})
            self._told_images = images

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
        """`state/queue.json`: who waits, host by host in the order of turns; last, who waits for something else."""
        rows = [
            {"job_id": claim.name, "host": claim.host, "position": place, "queued_at": rfc3339(claim.queued_at)}
            for place, claim in self._roster.queue()
        ]
        self._write("state/queue.json", rows)

    def _registry(self) -> None:
        """`job_track.json`: what the old system kept of each job."""
        rows = {
            name: {
                "container_id": entry.container_id,
                "container_name": container_name(self._instance, name),
                "target_host": entry.host,
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
