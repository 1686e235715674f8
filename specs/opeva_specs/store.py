"""StatusStore, ControlStore, EventLog: values in, atomic files out, and back."""

import os
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError

from opeva_specs.model import is_job_id
from opeva_specs.status import JobStatus, Wish, rfc3339
from opeva_specs.volume import SharedVolume

MAX_STATUS_BYTES = 16 * 2**20
MAX_WISH_BYTES = 64 * 1024
CONFIRM_DELETIONS = "confirm-deletions"
_EVENT_START = b'{"at":'


class Damaged(ValueError):
    """A file of ours is there but cannot be read as what it should be."""


class StatusStore:
    """`status/<job_id>.json`: one writer (the operator), any number of readers."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume

    def names(self) -> list[str]:
        """Every job that has a status file; raises OSError when the folder cannot be listed."""
        return _names(self._volume, "status")

    def read(self, name: str) -> JobStatus | None:
        """The status, None if there is none; raises Damaged, or OSError when nobody can tell."""
        try:
            status = JobStatus.model_validate_json(self._volume.read(f"status/{name}.json", MAX_STATUS_BYTES))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise Damaged(f"cannot read status/{name}.json: {error.error_count()} errors") from error
        if status.metadata.name != name:
            raise Damaged(f"cannot use status/{name}.json: it tells of job {status.metadata.name[:63]!r}")
        return status

    def write(self, status: JobStatus, *, durable: bool) -> None:
        """Replace the file as a whole; durable for what is accepted or has ended."""
        self._volume.write(f"status/{status.metadata.name}.json", status.to_json(), durable=durable)

    def set_aside(self, name: str) -> None:
        """Keep a damaged file for people to look at, out of the way."""
        self._volume.rename(f"status/{name}.json", f"state/jobs/{name}/status.damaged")

    def remove(self, name: str) -> None:
        """Forget the job; fine when it is forgotten already."""
        self._volume.remove(f"status/{name}.json", durable=True)


class ControlStore:
    """`control/<job_id>.json`: one imperative wish per job; the last one wins."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume

    def names(self) -> list[str]:
        """Every job that somebody wishes something of."""
        return _names(self._volume, "control")

    def read(self, name: str) -> Wish | None:
        """The wish, None if there is none; raises Damaged, or OSError when nobody can tell."""
        try:
            return Wish.model_validate_json(self._volume.read(f"control/{name}.json", MAX_WISH_BYTES))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise Damaged(f"cannot read control/{name}.json: {error.error_count()} errors") from error

    def write(self, name: str, wish: Wish) -> None:
        """Make the wish, durable once this returns."""
        data = wish.model_dump_json(by_alias=True, exclude_none=True, indent=1).encode() + b"\n"
        self._volume.write(f"control/{name}.json", data, durable=True)

    def take(self, name: str, wish: Wish) -> None:
        """Take that wish away, for it is recorded or void; another one that was made meanwhile stays."""
        found = self.read(name)
        if found is None or found.id == wish.id:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Take away whatever stands there."""
        self._volume.remove(f"control/{name}.json")


class EventLog:
    """`state/jobs/<job_id>/events.jsonl`: what happened to a job, oldest first; a line may carry the whole status."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume

    def append(
        self,
        name: str,
        now: datetime,
        reason: str,
        message: str,
        *,
        status: JobStatus | None = None,
        durable: bool = False,
    ) -> None:
        """Add one event; durable for the last one of a generation."""
        event: dict[str, Any] = {"at": rfc3339(now), "reason": reason, "message": message}
        if status is not None:
            event["object"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self._volume.append(_events(name), orjson.dumps(event) + b"\n", durable=durable)

    def last_status(self, name: str) -> JobStatus | None:
        """The newest status that the events tell of; None when there are no events."""
        try:
            data = self._volume.read(_events(name), 256 * 2**20)
        except FileNotFoundError:
            return None
        for line in reversed(data.splitlines()):
            found = _status_in(line)
            if found is not None:
                return found
        return None


def _status_in(line: bytes) -> JobStatus | None:
    for start in {0, max(0, line.rfind(_EVENT_START))}:  # a line torn by a crash may stand before a good one
        try:
            event = orjson.loads(line[start:])
        except ValueError:
            continue
        if isinstance(event, dict) and "object" in event:
            return _status_of(event["object"])
    return None


def _status_of(found: object) -> JobStatus | None:
    try:
        return JobStatus.model_validate(found)
    except ValidationError:
        return None


def _events(name: str) -> str:
    return f"state/jobs/{name}/events.jsonl"


def _names(volume: SharedVolume, folder: str) -> list[str]:
    stems = (entry.removesuffix(".json") for entry in _listed(volume, folder) if entry.endswith(".json"))
    return [stem for stem in stems if is_job_id(stem)]


def _listed(volume: SharedVolume, folder: str) -> list[str]:
    with volume.folder(folder) as folder_fd:
        return os.listdir(folder_fd)
