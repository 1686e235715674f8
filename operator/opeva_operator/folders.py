"""The folder of a job, before and between its attempts.

jobs/<id>/                              what people look at: the files of one attempt
jobs/<id>/attempts/<generation>-<n>/    those of every other one
state/jobs/<id>/folder.json             which attempt's files lie in the first place
"""

import logging
import os
from datetime import datetime
from typing import Any

import orjson

from opeva_operator.acceptance import Accepted, config_copy
from opeva_specs.configs import MAX_CONFIG_BYTES
from opeva_specs.status import Attempt, JobStatus, rfc3339
from opeva_specs.volume import SharedVolume

logger = logging.getLogger(__name__)

_OUTPUT = ("logs", "progress", "results")
_ARCHIVES = "attempts"
TRASH = ".trash"  # jobs can write beside it: it may be a link


class Folders:
    """Moves files between the job's folder and its archives; every step may be done again after a crash."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume

    def prepare(self, accepted: Accepted, status: JobStatus, attempt: Attempt) -> str | None:
        """Make the job's folder ready for an attempt; where the previous one's files are, as the job sees it."""
        name = accepted.job.metadata.name
        self._make_room(name, _label(attempt))
        for part in _OUTPUT:
            with self._volume.folder(f"jobs/{name}/{part}", create=True):
                pass
        if accepted.has_config:
            config = self._volume.read(config_copy(name), MAX_CONFIG_BYTES)
            self._volume.write(f"jobs/{name}/config.yaml", config, durable=False)
        self._volume.write(f"jobs/{name}/job_info.json", _job_info(status, attempt), durable=False)
        return self._previous(name, status, attempt)

    def show(self, name: str, attempt: Attempt) -> None:
        """Bring the files of an earlier attempt back to where people look."""
        label = _label(attempt)
        self._make_room(name, label)
        source = f"jobs/{name}/{_ARCHIVES}/{label}"
        if not self._volume.exists(source):
            return
        with self._volume.folder(f"jobs/{name}") as job_fd, self._volume.folder(source) as archive_fd:
            _move(os.listdir(archive_fd), archive_fd, job_fd)
        self._volume.remove_tree(source)

    def trash(self, name: str, now: datetime) -> str:
        """Take the job's folder out of sight in one step; where it lies now, to be removed in as many as it takes."""
        target = f"{TRASH}/{name}-{now.timestamp():.6f}"
        self._volume.displace(TRASH, is_folder=True)
        try:
            self._volume.rename(f"jobs/{name}", target)
        except FileNotFoundError:
            pass
        self._volume.remove(_note(name))  # nobody's files lie there any more
        return target

    def _make_room(self, name: str, label: str) -> None:
        """Archive what another attempt left, and note whose files lie here from now on."""
        owner = self._owner(name)
        if owner == label:
            return
        if owner is not None:
            self._archive(name, owner)
        self._volume.write(_note(name), orjson.dumps({"attempt": label}), durable=False)

    def _archive(self, name: str, label: str) -> None:
        target, partial = f"jobs/{name}/{_ARCHIVES}/{label}", f"jobs/{name}/{_ARCHIVES}/.{label}"
        for path in (f"jobs/{name}/{_ARCHIVES}", target, partial):
            self._volume.displace(path, is_folder=True)  # the job may have planted something else there
        if self._volume.exists(target):
            return
        with self._volume.folder(f"jobs/{name}", create=True) as job_fd:
            with self._volume.folder(partial, create=True) as archive_fd:
                _move([entry for entry in os.listdir(job_fd) if entry != _ARCHIVES], job_fd, archive_fd)
            self._volume.rename(partial, target)

    def _owner(self, name: str) -> str | None:
        try:
            return str(orjson.loads(self._volume.read(_note(name), 4096))["attempt"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _previous(self, name: str, status: JobStatus, attempt: Attempt) -> str | None:
        earlier = [_label(a) for a in status.status.attempts if _label(a) != _label(attempt)]
        paths = [f"jobs/{name}/{_ARCHIVES}/{label}" for label in reversed(earlier)]
        return next((f"/data/{path}" for path in paths if self._volume.exists(path)), None)


def empty_trash(volume: SharedVolume) -> None:
    """Remove what deletions left behind; what cannot be removed holds up nothing."""
    try:
        volume.remove_tree(TRASH)
    except OSError as error:
        logger.warning("cannot empty %s: %s", TRASH, error)


def _label(attempt: Attempt) -> str:
    return f"{attempt.generation}-{attempt.attempt}"


def _note(name: str) -> str:
    return f"state/jobs/{name}/folder.json"


def _move(entries: list[str], from_fd: int, to_fd: int) -> None:
    taken = set(os.listdir(to_fd))
    for entry in entries:
        target = entry
        while target in taken:
            target += "~"
        os.rename(entry, target, src_dir_fd=from_fd, dst_dir_fd=to_fd)


def _job_info(status: JobStatus, attempt: Attempt) -> bytes:
    info: dict[str, Any] = {
        **status.status.job_info,
        "generation": attempt.generation,
        "attempt": attempt.attempt,
        "queued_at": rfc3339(attempt.queued_at),
    }
    return orjson.dumps(info, option=orjson.OPT_INDENT_2)
