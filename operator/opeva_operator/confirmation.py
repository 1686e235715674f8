"""Confirmation: a person says that jobs whose files vanished may end; it holds until they have, restarts included."""

import logging

import orjson

from opeva_specs.store import CONFIRM_DELETIONS
from opeva_specs.volume import SharedVolume

logger = logging.getLogger(__name__)

_WORD = f"control/{CONFIRM_DELETIONS}"
_RECORD = "state/confirmed-deletions.json"


class Confirmation:
    """The person's word, and the names that it was for. Not thread-safe."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume
        self._kept = self._read()

    @property
    def names(self) -> frozenset[str]:
        """The jobs whose deletion was confirmed and is still due."""
        return self._kept

    def is_given(self) -> bool:
        """Whether somebody has just given their word."""
        return self._volume.exists(_WORD)

    def keep(self, names: frozenset[str]) -> None:
        """Record the jobs that the word still holds for; durable, for the word itself is taken away after this."""
        if names == self._kept:
            return
        if names:
            self._volume.write(_RECORD, orjson.dumps({"jobs": sorted(names)}), durable=True)
        else:
            self._volume.remove(_RECORD)
        self._kept = names

    def take(self) -> None:
        """The word was recorded: it does not hold for what vanishes later."""
        self._volume.remove(_WORD)

    def _read(self) -> frozenset[str]:
        try:
            return frozenset(map(str, orjson.loads(self._volume.read(_RECORD, 64 * 2**20))["jobs"]))
        except FileNotFoundError:
            return frozenset()
        except (ValueError, KeyError, TypeError) as error:
            logger.error("cannot use %s: %r; whoever confirmed deletions has to do so again", _RECORD, error)
            return frozenset()
