"""One operator per volume: a kernel lock, or a heartbeat where the file system has no locks."""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson

from opeva_specs.volume import SharedVolume

logger = logging.getLogger(__name__)

EXPIRY = timedelta(seconds=15)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class HolderLock:
    """Held until the process ends: the kernel frees it then, so a restart waits for nothing."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume
        self._fd: int | None = None

    def wait(self, stopping: Callable[[], bool], pause: Callable[[float], None] = time.sleep) -> bool:
        """Return True once this process holds the volume, False when it is to stop first."""
        tries = 0
        while not stopping():
            if self._take():
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

    def release(self) -> None:
        """Let another operator have the volume."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _take(self) -> bool:
        fd = self._volume.open("state/operator.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            if error.errno in _NO_LOCKS:
                return heartbeat_age(self._volume) > EXPIRY
            raise
        self._fd = fd
        return True


def heartbeat_age(volume: SharedVolume) -> timedelta:
    """How long ago the operator of the volume was last heard of; for ever when it never was."""
    try:
        told = orjson.loads(volume.read("state/operator.json", 2**20))
        return datetime.now(UTC) - datetime.fromisoformat(told["heartbeat"])
    except (OSError, ValueError, KeyError, TypeError):
        return timedelta.max
