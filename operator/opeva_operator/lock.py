"""One operator per volume: a kernel lock, or, where the file system has none, a claim that heartbeats keep alive.

A claim is a file with the name of who wants the volume: the last one to write it has it, once all who began at the
same moment have written theirs. Whoever slept so long that another took over finds another's name in it, and stops.
"""

import errno
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson

from opeva_specs.volume import SharedVolume

logger = logging.getLogger(__name__)

EXPIRY = timedelta(seconds=15)
CLAIM_PAUSE = 2.0  # seconds: far longer than from the look whether a volume is free to the claim
_CLAIM = "state/operator.claim"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class HolderLock:
    """Held until the process ends: the kernel frees it then, so a restart waits for nothing. A claim expires."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume
        self._fd: int | None = None
        self._name = secrets.token_hex(8)

    def wait(self, stopping: Callable[[], bool], pause: Callable[[float], object] = time.sleep) -> bool:
        """Return True once this process holds the volume, False when it is to stop first."""
        tries = 0
        while not stopping():
            if self._take(pause):
                return True
            if tries % 30 == 0:
                logger.warning("another operator holds this volume (%s): waiting for it to end", self.holder())
            tries += 1
            pause(1.0)
        return False

    def holder(self) -> str:
        """Who holds the volume, for people."""
        try:
            told = orjson.loads(self._volume.read("state/operator.json", 2**20))
            return f"process {told['holder']['pid']} on {told['holder']['host']}, seen {told['heartbeat']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"

    def is_kept(self) -> bool:
        """Whether the volume is still this process's; tells the log when another one has it now."""
        if self._fd is not None:
            return True
        try:
            claimant = _claimant(self._volume)
        except OSError:  # nobody can tell: who takes over would write it
            return True
        if claimant in (None, self._name):
            return True
        logger.error("another operator took this volume over (%s) while this one was silent: it stops", self.holder())
        return False

    def release(self) -> None:
        """Let another operator have the volume."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _take(self, pause: Callable[[float], object]) -> bool:
        fd = self._volume.open("state/operator.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            if error.errno in _NO_LOCKS:
                return self._claim(pause)
            raise
        self._fd = fd
        return True

    def _claim(self, pause: Callable[[float], object]) -> bool:
        if min(heartbeat_age(self._volume), _claim_age(self._volume)) <= EXPIRY:
            return False
        claim = {"name": self._name, "at": datetime.now(UTC).isoformat()}
        self._volume.write(_CLAIM, orjson.dumps(claim), durable=True)
        pause(CLAIM_PAUSE)
        return _claimant(self._volume) == self._name


def heartbeat_age(volume: SharedVolume) -> timedelta:
    """How long ago the operator of the volume was last heard of; for ever when it never was."""
    return _age(volume, "state/operator.json", "heartbeat")


def _claim_age(volume: SharedVolume) -> timedelta:
    return _age(volume, _CLAIM, "at")


def _age(volume: SharedVolume, file: str, field: str) -> timedelta:
    try:
        told = orjson.loads(volume.read(file, 2**20))
        return datetime.now(UTC) - datetime.fromisoformat(told[field])
    except (OSError, ValueError, KeyError, TypeError):
        return timedelta.max


def _claimant(volume: SharedVolume) -> str | None:
    """Whose claim stands; None when there is none that makes sense."""
    try:
        return str(orjson.loads(volume.read(_CLAIM, 4096))["name"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
