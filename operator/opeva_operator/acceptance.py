"""Accepting a run: its spec and config are copied, its defaults resolved, before anything is started.

state/jobs/<id>/accepted.json   the job as accepted, with every default resolved
state/jobs/<id>/config.yaml     the config's bytes; later edits of the file under configs/ change nothing
"""

import errno
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from opeva_operator import outcome
from opeva_operator.engine import Container
from opeva_specs import policy
from opeva_specs.configs import MAX_CONFIG_BYTES, ConfigNames, read_names
from opeva_specs.model import SimulationJob, config_file
from opeva_specs.settings import Settings
from opeva_specs.status import (
    Attempt,
    Generation,
    JobStatus,
    Meta,
    Observed,
    Phase,
    Reason,
    changed,
    condition,
    with_conditions,
)
from opeva_specs.surroundings import data_set_of
from opeva_specs.terms import Demand, demand_of, terms_of
from opeva_specs.volume import SharedVolume
from opeva_specs.wanted import Present
from opeva_specs.yamltext import dump

MAX_ACCEPTED_BYTES = 8 * 2**20
_NOT_ENDED = {"intent": None, "finished_at": None, "retry_at": None, "blockers": (), "hidden": False}


class Accepted(BaseModel):
    """A run as it was accepted: what the operator starts, whatever becomes of the file."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True)

    job: SimulationJob
    digest: str
    image: str
    network: str
    args: tuple[str, ...]
    experiment_name: str | None = None
    run_name: str | None = None
    job_name: str = ""
    has_config: bool = False
    config_digest: str | None = None
    data_set: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigMissing:
    """The config cannot be copied now; says why."""

    message: str


class Acceptance:
    """Reads configs and writes the records of accepted runs."""

    def __init__(self, volume: SharedVolume, settings: Settings) -> None:
        self._volume, self._settings = volume, settings

    def accept(
        self, job: SimulationJob, wanted: Present, before: JobStatus | None, now: datetime, container_name: str
    ) -> JobStatus:
        """The status of a new generation; its record is durable before this returns. Raises OSError."""
        refusal = policy.denied(job)
        config = None if refusal else self.read_config(job)
        accepted = self._resolve(job, wanted.digest, config)
        self._keep(job.metadata.name, accepted, config if isinstance(config, bytes) else None)
        demand = demand_of(job.spec, self._settings.default_demand)
        status = _new_generation(job, accepted, wanted, before, now, container_name, demand)
        if refusal:
            return outcome.over(status, Phase.FAILED, Reason.POLICY_DENIED, refusal, now)
        if isinstance(config, ConfigMissing):
            observed = changed(status.status, reason=Reason.CONFIG_MISSING, message=config.message)
            status = changed(status, status=observed)
        return status

    def amend(self, job: SimulationJob, wanted: Present, status: JobStatus, now: datetime) -> JobStatus:
        """Take over what is not part of the run."""
        name = job.metadata.name
        accepted = self.read(name)
        if accepted is not None:
            kept = accepted.model_copy(update={"job": job})
            self._volume.write(_record(name), _json(kept), durable=True)
        meta = changed(status.metadata, **_meta_fields(job, wanted))
        info = {key: value for key, value in status.status.job_info.items() if key != "submitted_by"} | _submitter(job)
        observed = changed(
            status.status,
            grace_seconds=job.spec.termination_grace_period_seconds,
            terms=terms_of(job.spec, status.status.terms, now),
            job_info=info,
        )
        amended: JobStatus = changed(status, metadata=meta, status=observed)
        return amended

    def copy_config(self, name: str, status: JobStatus) -> JobStatus | ConfigMissing:
        """Try again to copy a config that was missing; the status with what it tells."""
        accepted = self.read(name)
        if accepted is None:
            return ConfigMissing("the record of its acceptance was lost: raise rerun in its spec")
        config = self.read_config(accepted.job)
        if isinstance(config, ConfigMissing):
            return config
        renewed = self._resolve(accepted.job, accepted.digest, config, accepted)
        self._keep(name, renewed, config)
        info = {**status.status.job_info, **_names(renewed)}
        observed = changed(status.status, config_digest=renewed.config_digest, job_info=info)
        updated: JobStatus = changed(status, status=observed)
        return updated

    def read(self, name: str) -> Accepted | None:
        """The record of the present generation; None when there is none that can be read."""
        try:
            return Accepted.model_validate_json(self._volume.read(_record(name), MAX_ACCEPTED_BYTES))
        except (FileNotFoundError, ValidationError):
            return None

    def read_config(self, job: SimulationJob) -> bytes | ConfigMissing | None:
        """The bytes of the config, None if the job has none."""
        if job.spec.config is not None:
            return dump(job.spec.config).encode()
        if job.spec.config_path is None:
            return None
        path = f"configs/{config_file(job.spec.config_path)}"
        try:
            data = self._volume.read(path, MAX_CONFIG_BYTES)
            read_names(data)
        except FileNotFoundError:
            return ConfigMissing(f"waits for {path}: there is no such file")
        except OSError as error:
            return ConfigMissing(f"waits for {path}: {_why(error)}")
        except ValueError as error:
            return ConfigMissing(f"waits for {path} to be mended: it {error}")
        return data

    def _resolve(
        self, job: SimulationJob, digest: str, config: bytes | ConfigMissing | None, before: Accepted | None = None
    ) -> Accepted:
        name, spec = job.metadata.name, job.spec
        names = _config_names(config)
        template = self._settings.job_args if spec.config is not None or spec.config_path else ()
        return Accepted(
            job=job,
            digest=digest,
            image=before.image if before else (spec.image or self._settings.default_image),
            network=before.network if before else (spec.network or self._settings.docker_network),
            args=before.args if before else _arguments(job, template),
            experiment_name=names.experiment_name,
            run_name=names.run_name,
            job_name=job.metadata.annotations.get("opeva.io/job-name") or (names.job_name if config else name),
            has_config=bool(spec.config is not None or spec.config_path),
            config_digest=hashlib.sha256(config).hexdigest() if isinstance(config, bytes) else None,
            data_set=data_set_of(names.dataset_path),
        )

    def _keep(self, name: str, accepted: Accepted, config: bytes | None) -> None:
        """Two syncs in all: the record's name becomes durable with the config's."""
        self._volume.write(_record(name), _json(accepted), durable=config is None)
        if config is not None:
            self._volume.write(config_copy(name), config, durable=True)


def adopted(name: str, found: Container, before: JobStatus | None, now: datetime) -> JobStatus:
    """A status that tells of a container whose own status was lost: made from its labels."""
    attempt = Attempt(
        generation=found.generation,
        attempt=found.attempt,
        container_id=found.id,
        image=found.image or None,
        host=found.host,
        queued_at=found.started_at or now,
        created_at=found.started_at or now,
        started_at=found.started_at,
    )
    reruns = before.status.reruns if before else 0
    generation = Generation(generation=found.generation, digest=found.digest, accepted_at=now, reruns=reruns)
    meta = Meta(name=name, generation=found.generation, digest=found.digest, source="")
    if before is None:
        observed = Observed(phase=Phase.STARTING, reason=Reason.STARTING, queued_at=now, host=found.host)
    else:
        meta = changed(before.metadata, generation=found.generation, digest=found.digest)
        observed = changed(before.status, phase=Phase.STARTING, reason=Reason.STARTING, **_NOT_ENDED)
    key = (found.generation, found.attempt)
    others = tuple(a for a in observed.attempts if (a.generation, a.attempt) != key)
    generations = tuple(g for g in observed.generations if g.generation != found.generation)
    observed = changed(
        observed,
        attempts=(*others, attempt),
        conditions=tuple(c for c in observed.conditions if c.type != "Complete"),
        generations=tuple(sorted((*generations, generation), key=lambda g: g.generation)),
        message="its status was lost; its container told what it is",
        job_info=observed.job_info or {"job_id": name, "job_name": name, "target_host": "local", "image": found.image},
    )
    return JobStatus(metadata=meta, status=observed)


def restored(status: JobStatus, shown: Generation, job: SimulationJob, wanted: Present, now: datetime) -> JobStatus:
    """The status that shows an earlier generation's outcome again; how long its files stay, its file says now."""
    runs = [a for a in status.status.attempts if a.generation == shown.generation]
    observed = changed(
        status.status,
        phase=shown.phase,
        reason=shown.reason,
        message=shown.message or "",
        intent=None,
        terms=terms_of(job.spec, None, now),
        finished_at=runs[-1].finished_at if runs else status.status.finished_at,
        generations=tuple(
            changed(g, reruns=status.status.reruns) if g == shown else g  # it answers every rerun wished so far
            for g in status.status.generations
        ),
        conditions=with_conditions(
            status.status.conditions,
            condition("Complete", shown.phase is Phase.FINISHED, str(shown.reason), shown.message or "", now),
        ),
    )
    told = _meta_fields(job, wanted)
    meta = changed(status.metadata, generation=shown.generation, digest=shown.digest, **told)
    again: JobStatus = changed(status, metadata=meta, status=observed)
    return again


def config_copy(name: str) -> str:
    """Where the config of a job is kept as it was accepted."""
    return f"state/jobs/{name}/config.yaml"


def _record(name: str) -> str:
    return f"state/jobs/{name}/accepted.json"


def _json(accepted: Accepted) -> bytes:
    dumped = accepted.model_dump(mode="json", by_alias=True, exclude={"job"}, exclude_none=True)
    job = accepted.job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return orjson.dumps({**dumped, "job": job}, option=orjson.OPT_INDENT_2)


def _arguments(job: SimulationJob, template: tuple[str, ...]) -> tuple[str, ...]:
    if job.spec.args is not None:
        return tuple(job.spec.args)
    return tuple(word.replace("<name>", job.metadata.name) for word in template)


def _config_names(config: bytes | ConfigMissing | None) -> ConfigNames:
    return read_names(config) if isinstance(config, bytes) else ConfigNames()


def _new_generation(
    job: SimulationJob,
    accepted: Accepted,
    wanted: Present,
    before: JobStatus | None,
    now: datetime,
    container_name: str,
    demand: Demand,
) -> JobStatus:
    past = before.status if before else None
    numbers = [g.generation for g in past.generations] if past else []
    number = max(numbers, default=0) + 1
    reruns = past.reruns if past else 0
    generation = Generation(generation=number, digest=accepted.digest, accepted_at=now, reruns=reruns)
    observed = Observed(
        phase=Phase.QUEUED,
        reason=Reason.ACCEPTED,
        conditions=with_conditions((), condition("Accepted", True, Reason.ACCEPTED, "", now)),
        attempts=past.attempts if past else (),
        generations=(*(past.generations if past else ()), generation),
        queued_at=now,
        host=job.spec.target_host or "local",
        grace_seconds=job.spec.termination_grace_period_seconds,
        terms=terms_of(job.spec, None, now),
        demand=demand,
        config_digest=accepted.config_digest,
        reruns=reruns,
        last_wish=past.last_wish if past else None,
        job_info=_job_info(job, accepted, container_name),
    )
    meta = Meta(name=job.metadata.name, generation=number, digest=accepted.digest, **_meta_fields(job, wanted))
    return JobStatus(metadata=meta, status=observed)


def _meta_fields(job: SimulationJob, wanted: Present) -> dict[str, Any]:
    return {
        "source": wanted.source,
        "source_hash": wanted.source_hash,
        "source_documents": wanted.documents,
        "labels": job.metadata.labels,
        "annotations": job.metadata.annotations,
    }


def _job_info(job: SimulationJob, accepted: Accepted, container_name: str) -> dict[str, Any]:
    spec = job.spec
    info: dict[str, Any] = {
        "job_id": job.metadata.name,
        "job_name": accepted.job_name,
        "target_host": spec.target_host or "local",
        "image": accepted.image,
        "network": accepted.network,
        "container_name": container_name,
        **_submitter(job),
    }
    _, _, tag = accepted.image.rpartition(":")
    if tag and "/" not in tag:
        info["image_tag"] = tag
    if spec.config_path:
        info["config_path"] = f"configs/{config_file(spec.config_path)}"
    return {**info, **_names(accepted)}


def _names(accepted: Accepted) -> dict[str, Any]:
    found = {"job_name": accepted.job_name, "experiment_name": accepted.experiment_name, "run_name": accepted.run_name}
    return {key: value for key, value in found.items() if value}


def _submitter(job: SimulationJob) -> dict[str, str]:
    return {"submitted_by": job.spec.submitted_by} if job.spec.submitted_by else {}


def _why(error: OSError) -> str:
    reasons = {errno.ELOOP: "it is a symbolic link", errno.EFBIG: f"it is larger than {MAX_CONFIG_BYTES} bytes"}
    return reasons.get(error.errno or 0, error.strerror or "it cannot be read")
