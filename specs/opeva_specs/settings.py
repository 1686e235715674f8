"""Settings of both services: every environment variable, its default and its meaning, in one place."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from opeva_specs.terms import Demand

_DEFAULT_ORIGINS = tuple(f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (3000, 5173, 8006))


class SettingsError(ValueError):
    """A variable cannot be used; the message says which, and what to write."""


def _list_of_text(value: Any) -> Any:
    """A JSON list or words between commas."""
    if not isinstance(value, str):
        return value
    parts = json.loads(value) if value.startswith("[") else value.split(",")
    trimmed = [part.strip().rstrip("/") if isinstance(part, str) else part for part in parts]
    return tuple(part for part in trimmed if part != "")


def _arguments(value: Any) -> Any:
    """A JSON list, or one line split as a shell would."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        return tuple(json.loads(value))
    return tuple(shlex.split(value))


_SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def _size(value: Any) -> Any:
    """Bytes, or a number with K, M, G or T (with or without `iB`)."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([kmgt]?)(?:i?b)?", value.lower())
    if found is None:
        raise ValueError("give a number of bytes, or a number with K, M, G or T, such as '512M'")
    return int(float(found[1]) * _SIZES[found[2]])


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_list_of_text)]
Arguments = Annotated[tuple[str, ...], BeforeValidator(_arguments)]
Bytes = Annotated[int, BeforeValidator(_size)]
Cpus = Annotated[float | None, BeforeValidator(_blank_is_none), Field(gt=0)]
OptionalBytes = Annotated[int | None, BeforeValidator(_size), Field(gt=0)]
Optional = Annotated[str | None, BeforeValidator(_blank_is_none)]


class Settings(BaseModel):
    """What whoever runs the server may set; each field is one environment variable."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, allow_inf_nan=False, str_strip_whitespace=True)

    shared_data: Path = Field(
        Path("/opt/opeva_shared_data"),
        alias="OPEVA_SHARED_DATA",
        description="The shared volume, as this process sees it.",
    )
    shared_data_host: Optional = Field(
        None,
        alias="OPEVA_SHARED_DATA_HOST",
        description="The shared volume, as the Docker host sees it; an operator in a container finds it by itself.",
    )
    api_host: str = Field("127.0.0.1", alias="OPEVA_API_HOST", description="Address the API listens on.")
    api_port: int = Field(8000, alias="OPEVA_API_PORT", ge=0, le=65535, description="Port the API listens on.")
    cors_origins: Texts = Field(
        _DEFAULT_ORIGINS,
        alias="OPEVA_CORS_ORIGINS",
        description="Web pages that may call the API: a comma or JSON list.",
    )
    docker_network: str = Field(
        "opeva_network", alias="OPEVA_DOCKER_NETWORK", description="Network of the jobs; created when missing."
    )
    default_image: str = Field(
        "calof/opeva_simulator:latest", alias="OPEVA_DEFAULT_IMAGE", description="Image of jobs that name none."
    )
    job_args: Arguments = Field(
        ("--config", "/data/jobs/<name>/config.yaml", "--job_id", "<name>"),
        alias="OPEVA_JOB_ARGS",
        description="Arguments of jobs that write none: one line or a JSON list; <name> is the job's name.",
    )
    max_concurrent_jobs: int = Field(
        default_factory=lambda: max(4, os.cpu_count() or 1),
        alias="OPEVA_MAX_CONCURRENT_JOBS",
        ge=1,
        description="Jobs that may run at once (default: the number of CPUs, at least 4).",
    )
    cpus: Cpus = Field(
        None, alias="OPEVA_CPUS", description="CPUs of this host for all jobs together (default: all it has)."
    )
    memory: OptionalBytes = Field(
        None, alias="OPEVA_MEMORY", description="Memory of this host for all jobs together (default: all it has)."
    )
    gpus: Annotated[int | None, BeforeValidator(_blank_is_none)] = Field(
        None, alias="OPEVA_GPUS", ge=0, description="GPUs of this host (default: as many as its engine tells of)."
    )
    default_cpu: float = Field(
        0.5, alias="OPEVA_DEFAULT_CPU", ge=0, description="CPUs that a job counts for which names none."
    )
    default_memory: Bytes = Field(
        512 * 2**20, alias="OPEVA_DEFAULT_MEMORY", ge=0, description="Memory that a job counts for which names none."
    )
    max_jobs_per_user: int = Field(
        0, alias="OPEVA_MAX_JOBS_PER_USER", ge=0, description="Jobs of one submittedBy that may run at once; 0: any."
    )
    max_bypass: int = Field(
        20,
        alias="OPEVA_MAX_BYPASS",
        ge=0,
        description="How often smaller jobs may pass the first one that waits, before room is kept for it.",
    )
    pids_limit: int = Field(
        4096, alias="OPEVA_PIDS_LIMIT", ge=16, description="Processes and threads that a job may have at once."
    )
    server_retries: int = Field(
        3,
        alias="OPEVA_SERVER_RETRIES",
        ge=0,
        description="How often a run is tried again that the server broke off, if its backoffLimit allows retries.",
    )
    hosts: Optional = Field(None, alias="OPEVA_HOSTS", description="YAML file that names more Docker hosts.")
    min_free_bytes: Bytes = Field(
        2**30,
        alias="OPEVA_MIN_FREE_BYTES",
        ge=0,
        description="No job is started while the volume has less room than this.",
    )
    dataset_max_bytes: Bytes = Field(
        2 * 2**30,
        alias="OPEVA_DATASET_MAX_BYTES",
        gt=0,
        description="Size of an uploaded data set, packed and unpacked.",
    )
    shm_size: Bytes = Field(2**30, alias="OPEVA_SHM_SIZE", ge=2**16, description="Size of /dev/shm in a job.")
    log_max_size: Bytes = Field(
        50 * 2**20,
        alias="OPEVA_LOG_MAX_SIZE",
        ge=2**16,
        description="Size of the engine's own log of a job; it keeps two.",
    )
    resync_seconds: float = Field(
        30.0, alias="OPEVA_RESYNC_SECONDS", gt=0, description="Seconds between full looks at files and containers."
    )
    poll_seconds: float = Field(
        5.0, alias="OPEVA_POLL_SECONDS", gt=0, description="Seconds between cheap looks at the folders, beside inotify."
    )
    settle_seconds: float = Field(
        5.0, alias="OPEVA_SETTLE_SECONDS", ge=0, description="How long an edit must stand before it ends a live run."
    )
    delete_grace_seconds: float = Field(
        10.0,
        alias="OPEVA_DELETE_GRACE_SECONDS",
        ge=0,
        description="How much longer a spec must be gone before its run ends.",
    )
    pull_timeout_seconds: float = Field(
        1800.0, alias="OPEVA_PULL_TIMEOUT_SECONDS", gt=0, description="How long fetching an image may take."
    )
    start_timeout_seconds: float = Field(
        60.0,
        alias="OPEVA_START_TIMEOUT_SECONDS",
        gt=0,
        description="How long creating and starting a container may fail before the job has failed.",
    )
    stop_timeout_seconds: float = Field(
        60.0,
        alias="OPEVA_STOP_TIMEOUT_SECONDS",
        gt=0,
        description="How long after SIGKILL a container may live before its job gives its place back.",
    )
    stall_after_seconds: float = Field(
        300.0,
        alias="OPEVA_STALL_AFTER_SECONDS",
        gt=0,
        description="Least silence of a run that is told as no progress, however lively it was before.",
    )
    engine_timeout_seconds: float = Field(
        30.0, alias="OPEVA_ENGINE_TIMEOUT_SECONDS", gt=0, description="How long one call to the engine may take."
    )
    mlflow_tracking_uri: Optional = Field(
        None, alias="OPEVA_MLFLOW_TRACKING_URI", description="MLflow server as jobs reach it."
    )
    mlflow_public_url: Optional = Field(
        None, alias="OPEVA_MLFLOW_PUBLIC_URL", description="MLflow as people's browsers reach it; links start with it."
    )
    docker_host: Optional = Field(
        None, alias="DOCKER_HOST", description="The Docker engine, as for the docker command."
    )

    @property
    def default_demand(self) -> Demand:
        """What a job counts for that names no resources."""
        return Demand(cpu=round(self.default_cpu * 10**9), memory=self.default_memory)


def variables() -> list[tuple[str, str, str]]:
    """Name, default and meaning of every variable, in order."""
    rows = []
    for name, info in Settings.model_fields.items():
        default = (
            _shown(name, getattr(Settings(), name)) if name != "max_concurrent_jobs" else "number of CPUs, at least 4"
        )
        rows.append((str(info.alias), default, info.description or ""))
    return rows


def _shown(field: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return (" " if field == "job_args" else ",").join(value)
        case _:
            return str(value)


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in an environment; raises SettingsError that names the variable. Empty means not set."""
    known = {str(info.alias) for info in Settings.model_fields.values()}
    given = {key: value.strip() for key, value in environ.items() if key in known and value.strip()}
    try:
        return Settings.model_validate(given)
    except (ValidationError, ValueError) as error:
        raise SettingsError(_sentence(error, given)) from error


def _sentence(error: ValueError, given: Mapping[str, str]) -> str:
    if not isinstance(error, ValidationError):
        return f"cannot read the settings: {error}"
    detail = error.errors(include_url=False)[0]
    variable = str(detail["loc"][0])
    reason = detail["msg"].removeprefix("Value error, ")
    return f"cannot use {variable}={given.get(variable, '')[:80]!r}: {reason[:1].lower()}{reason[1:]}"
