"""Jobs of the old system: its `job_track.json` becomes statuses, with the outcome that can be known and no other.

Its values are a container id, or an object with `container_id` and more. Containers are looked at, never touched.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from opeva_operator import outcome
from opeva_operator.engine import Container, Engine, EngineError
from opeva_specs.model import is_job_id
from opeva_specs.status import Attempt, Generation, JobStatus, Meta, Observed, Phase, Reason
from opeva_specs.store import Damaged
from opeva_specs.volume import SharedVolume

logger = logging.getLogger(__name__)

COPY = "state/imported/job_track.json"
_WORDS = {"finished": Phase.FINISHED, "failed": Phase.FAILED, "stopped": Phase.STOPPED, "canceled": Phase.CANCELED}
_KEPT = ("job_name", "config_path", "submitted_by", "experiment_name", "run_name", "image", "container_name")


def keep_copy(volume: SharedVolume) -> None:
    """On the first start: keep the old registry, before ours takes its place."""
    try:
        data = volume.read("job_track.json", 64 * 2**20)
    except FileNotFoundError:
        return
    volume.write(COPY, data, durable=True)


class Importer:
    """Goes through the old registry until the outcome of every job in it is known."""

    def __init__(self, volume: SharedVolume, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._volume, self._engine, self._clock = volume, engine, clock
        self._pending = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            found = orjson.loads(self._volume.read(COPY, 64 * 2**20))
        except FileNotFoundError:
            return {}
        except ValueError:
            logger.error("cannot import %s: it is not JSON", COPY)
            return {}
        good = {name: value for name, value in found.items() if is_job_id(name)} if isinstance(found, dict) else {}
        for name in (found.keys() - good.keys()) if isinstance(found, dict) else ():
            logger.warning("cannot import job %r: not a job id", name[:80])
        return good

    @property
    def is_pending(self) -> bool:
        """Whether there are jobs whose outcome is not told yet."""
        return bool(self._pending)

    def step(self, before: Callable[[str], JobStatus | None]) -> list[JobStatus]:
        """The statuses that can be told now: of ended jobs once, of running ones until they end."""
        told = []
        for name, value in list(self._pending.items()):
            try:
                known = before(name)
            except Damaged:  # being rebuilt: told next time
                continue
            if known is not None and (known.status.phase.is_terminal or not known.status.imported):
                del self._pending[name]
                continue
            try:
                status = self._status(name, value if isinstance(value, dict) else {"container_id": value})
            except EngineError as error:
                logger.info("cannot look at the container of job %s yet: %s", name, error)
                continue
            if known is None or status.status.phase is not known.status.phase:
                told.append(status)
        return told

    def _status(self, name: str, facts: dict[str, Any]) -> JobStatus:
        container_id = str(facts.get("container_id") or "")
        found = self._engine.by_id(container_id) if container_id.isalnum() else None
        status = _first(name, facts, container_id, found, self._clock())
        if found is not None and found.has_ended:
            return outcome.judged(status, found, outcome.End(now=self._clock()))
        if found is not None:
            return outcome.seen(status, found) if found.is_live else status
        word = str(facts.get("status", "")).lower()
        if word in _WORDS:
            return _as_recorded(status, word, self._clock())
        words = "started by the old system; its container is gone, so how it ended cannot be known"
        return outcome.over(status, Phase.FAILED, Reason.PREVIOUS_RUN_UNKNOWN, words, self._clock())


def _first(name: str, facts: dict[str, Any], container_id: str, found: Container | None, now: datetime) -> JobStatus:
    started_at = found.started_at if found else None
    attempt = Attempt(generation=1, attempt=1, container_id=container_id or None, queued_at=started_at or now)
    info = {key: facts[key] for key in _KEPT if isinstance(facts.get(key), str)}
    host = facts.get("target_host") or facts.get("host") or "local"
    observed = Observed(
        phase=Phase.STARTING,
        reason=Reason.STARTING,
        message="started by the old system; followed until it ends",
        attempts=(attempt,),
        generations=(Generation(generation=1, digest="", accepted_at=now),),
        queued_at=started_at or now,
        imported=True,
        job_info={"job_id": name, "job_name": name, "target_host": str(host), **info},
    )
    return JobStatus(metadata=Meta(name=name, generation=1, digest="", source=""), status=observed)


def _as_recorded(status: JobStatus, word: str, now: datetime) -> JobStatus:
    reasons = {
        Phase.FINISHED: Reason.COMPLETED,
        Phase.FAILED: Reason.EXIT_NON_ZERO,
        Phase.STOPPED: Reason.STOPPED_BY_USER,
        Phase.CANCELED: Reason.STOPPED_BY_USER,
    }
    phase = _WORDS[word]
    return outcome.over(status, phase, reasons[phase], "as the old system recorded it; its container is gone", now)
