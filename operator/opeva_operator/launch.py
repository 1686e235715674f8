"""From an accepted run to a container: what it is called, what it may see, and the folders it finds."""

import os
from datetime import datetime
from typing import Any

import orjson

from opeva_operator.acceptance import Accepted, config_copy
from opeva_operator.engine import ContainerSpec, Mount
from opeva_specs.configs import MAX_CONFIG_BYTES
from opeva_specs.model import cpu_to_nano, memory_to_bytes
from opeva_specs.settings import Settings
from opeva_specs.status import Attempt, JobStatus, rfc3339
from opeva_specs.volume import SharedVolume

READ_ONLY = ("specs", "control", "status", "rejected", "jobs")
_OUTPUT = ("logs", "progress", "results")


def container_name(instance: str, job: str) -> str:
    """One name per job of a volume, so that the engine itself refuses a second container."""
    return f"opeva-{instance[:8]}-{job}"


def container_spec(
    accepted: Accepted, attempt: Attempt, settings: Settings, instance: str, host_root: str, previous: str | None
) -> ContainerSpec:
    """The container of one attempt: pure."""
    name, spec = accepted.job.metadata.name, accepted.job.spec
    limits = spec.resources
    return ContainerSpec(
        name=container_name(instance, name),
        job=name,
        generation=attempt.generation,
        attempt=attempt.attempt,
        digest=accepted.digest,
        image=accepted.image,
        command=tuple(spec.command) if spec.command is not None else None,
        args=accepted.args,
        env={**_environment(accepted, settings, previous), **spec.env},
        network=accepted.network,
        mounts=mounts(host_root, name),
        nano_cpus=cpu_to_nano(limits.cpu) if limits.cpu else None,
        memory_bytes=memory_to_bytes(limits.memory) if limits.memory else None,
        shm_bytes=settings.shm_size,
        log_max_bytes=settings.log_max_size,
    )


def mounts(host_root: str, job: str) -> tuple[Mount, ...]:
    """The volume at /data; what a job must not change is read-only, what it must not see is empty."""
    return (
        Mount(source=host_root, target="/data"),
        *(Mount(source=f"{host_root}/{part}", target=f"/data/{part}", read_only=True) for part in READ_ONLY),
        Mount(source=None, target="/data/state"),
        Mount(source=f"{host_root}/jobs/{job}", target=f"/data/jobs/{job}"),
    )


def _environment(accepted: Accepted, settings: Settings, previous: str | None) -> dict[str, str]:
    found: dict[str, str | None] = {
        "OPEVA_BASE_DIR": "/data",
        "OPEVA_JOB_NAME": accepted.job_name,
        "OPEVA_PREVIOUS_ATTEMPT": previous,
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_UI_BASE_URL": settings.mlflow_public_url,
        "MLFLOW_EXPERIMENT_NAME": accepted.experiment_name,
    }
    return {key: value for key, value in found.items() if value}


def previous_attempt(status: JobStatus, attempt: Attempt) -> Attempt | None:
    """The attempt before that one, of whatever generation."""
    earlier = [a for a in status.status.attempts if (a.generation, a.attempt) != (attempt.generation, attempt.attempt)]
    return earlier[-1] if earlier else None


def archive_folder(attempt: Attempt) -> str:
    """Where the files of an attempt lie once it is no longer the newest, below the job's folder."""
    return f"attempts/{attempt.generation}-{attempt.attempt}"


class Folders:
    """The folder of a job, before and between its attempts."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume

    def prepare(self, accepted: Accepted, status: JobStatus, attempt: Attempt) -> str | None:
        """Make the job's folder ready for an attempt; the path of the previous one's files, as the job sees it."""
        name = accepted.job.metadata.name
        before = previous_attempt(status, attempt)
        if before is not None:
            self.archive(name, before)
        for part in _OUTPUT:
            with self._volume.folder(f"jobs/{name}/{part}", create=True):
                pass
        if accepted.has_config:
            config = self._volume.read(config_copy(name), MAX_CONFIG_BYTES)
            self._volume.write(f"jobs/{name}/config.yaml", config, durable=False)
        self._volume.write(f"jobs/{name}/job_info.json", _job_info(status, attempt), durable=False)
        return f"/data/jobs/{name}/{archive_folder(before)}" if before is not None else None

    def archive(self, name: str, attempt: Attempt) -> None:
        """Move everything of an attempt out of the next one's way, once; goes on where a crash ended it."""
        target = f"jobs/{name}/{archive_folder(attempt)}"
        if self._volume.exists(target):
            return
        partial = f"jobs/{name}/attempts/.{attempt.generation}-{attempt.attempt}"
        with self._volume.folder(f"jobs/{name}", create=True) as job_fd:
            with self._volume.folder(partial, create=True) as archive_fd:
                _move([entry for entry in os.listdir(job_fd) if entry != "attempts"], job_fd, archive_fd)
            self._volume.rename(partial, target)

    def unarchive(self, name: str, attempt: Attempt) -> None:
        """Bring the files of an earlier attempt back to where people look."""
        source = f"jobs/{name}/{archive_folder(attempt)}"
        if not self._volume.exists(f"{source}/job_info.json"):
            return
        with self._volume.folder(f"jobs/{name}") as job_fd, self._volume.folder(source) as archive_fd:
            _move(os.listdir(archive_fd), archive_fd, job_fd)
        self._volume.remove_tree(source)

    def trash(self, name: str, now: datetime) -> str:
        """Take the job's folder out of sight in one step; where it lies now, to be removed in as many as it takes."""
        target = f".trash/{name}-{now.timestamp():.6f}"
        try:
            self._volume.rename(f"jobs/{name}", target)
        except FileNotFoundError:
            pass
        return target


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
