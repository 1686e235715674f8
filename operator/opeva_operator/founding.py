"""Starting on a volume: its identity, its sentinel, who may write where, and what crashes left behind."""

import logging
import os
import uuid
from collections.abc import Container
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_ISREG

import orjson

from opeva_operator.imported import keep_copy
from opeva_specs.volume import SENTINEL, SharedVolume, is_scrap

logger = logging.getLogger(__name__)

API_UID = 10001
API_FOLDERS = ("specs/api", "control", "configs", "datasets")
SWEPT = ("", "status", "state", "control", "configs", "specs", "specs/api")
SCRAP_AGE = timedelta(days=1)


def identify(volume: SharedVolume) -> str:
    """The random id of the volume, made on the first start together with the sentinel in `specs/`."""
    try:
        return str(orjson.loads(volume.read("state/instance.json", 4096))["id"])
    except FileNotFoundError:
        pass
    try:
        instance = volume.read(f"specs/{SENTINEL}", 256).decode("ascii", "replace").strip()
    except FileNotFoundError:
        instance = uuid.uuid4().hex
        volume.write(f"specs/{SENTINEL}", f"{instance}\n".encode(), durable=True)
    keep_copy(volume)
    volume.write("state/instance.json", orjson.dumps({"id": instance}), durable=True)
    return instance


def host_boot_id() -> str | None:
    """An id that this machine gets anew at each start; None where the system has no such thing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def hand_over(volume: SharedVolume) -> None:
    """The API runs unprivileged: what it may write belongs to it."""
    if os.geteuid() != 0:
        return
    for folder in API_FOLDERS:
        try:
            with volume.folder(folder) as fd:
                if os.fstat(fd).st_uid == 0:
                    os.fchown(fd, API_UID, API_UID)
        except OSError as error:  # a job may have put a link in the place of a folder that it can write
            logger.error("cannot hand %s/ to the API: %s", folder, error.strerror)


def sweep(volume: SharedVolume, now: datetime) -> None:
    """Remove what writes that were cut short left in our folders, once it is a day old."""
    for folder in SWEPT:
        try:
            with volume.folder(folder) as fd:
                _sweep(fd, now)
        except OSError as error:
            logger.warning("cannot sweep %s/: %s", folder, error.strerror)


def _sweep(fd: int, now: datetime) -> None:
    for name in filter(is_scrap, os.listdir(fd)):
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if S_ISREG(found.st_mode) and now.timestamp() - found.st_mtime > SCRAP_AGE.total_seconds():
            os.unlink(name, dir_fd=fd)


def recorded_jobs(volume: SharedVolume, known: Container[str]) -> set[str]:
    """Jobs, beside the known ones, that have events: those without a status are rebuilt from them."""
    folder = volume.root / "state" / "jobs"
    unknown = [entry for entry in os.scandir(folder) if entry.name not in known]
    return {entry.name for entry in unknown if (folder / entry.name / "events.jsonl").exists()}
