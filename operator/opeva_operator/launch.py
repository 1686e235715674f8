"""From an accepted run to a container: what it is called, what it may see, what it is told. Pure."""

from opeva_operator.acceptance import Accepted
from opeva_operator.engine import ContainerSpec, Mount
from opeva_specs.model import cpu_to_nano, memory_to_bytes
from opeva_specs.settings import Settings
from opeva_specs.status import Attempt

READ_ONLY = ("specs", "control", "status", "rejected", "jobs")


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
        env={**_environment(accepted, attempt, settings, previous), **spec.env},
        network=accepted.network,
        mounts=mounts(host_root, name),
        nano_cpus=cpu_to_nano(limits.cpu) if limits.cpu else None,
        memory_bytes=memory_to_bytes(limits.memory) if limits.memory else None,
        gpus=limits.gpu or 0,
        pids_limit=settings.pids_limit,
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


def _environment(accepted: Accepted, attempt: Attempt, settings: Settings, previous: str | None) -> dict[str, str]:
    found: dict[str, str | None] = {
        "OPEVA_GENERATION": str(attempt.generation),
        "OPEVA_ATTEMPT": str(attempt.attempt),
        "OPEVA_BASE_DIR": "/data",
        "OPEVA_JOB_NAME": accepted.job_name,
        "OPEVA_PREVIOUS_ATTEMPT": previous,
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_UI_BASE_URL": settings.mlflow_public_url,
        # Where nothing is tracked, nothing is said of tracking.
        "MLFLOW_EXPERIMENT_NAME": accepted.experiment_name if settings.mlflow_tracking_uri else None,
    }
    return {key: value for key, value in found.items() if value}
