"""SimulationJob: the only definition of a job. Every schema, check and page is derived from it."""

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

API_VERSION = "opeva.io/v1"
KIND = "SimulationJob"

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_NAME = re.compile(NAME_PATTERN)
_ENV_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]*$")
_IMAGE = re.compile(
    r"^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?"  # registry
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"  # first part of the repository
    r"(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha256:[a-f0-9]{64})?$"
)
_CPU = re.compile(r"^(?:[0-9]{1,6}(?:\.[0-9]{1,3})?|[0-9]{1,9}m)$")
_MEMORY = re.compile(r"^[0-9]{1,15}(?:\.[0-9]{1,9})?(?:[kMGTP]|[KMGTP]i)?$")
_LABEL_KEY = re.compile(r"^(?:[a-z0-9][-a-z0-9.]{0,252}/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_LABEL_VALUE = re.compile(r"^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
# Line ends and what turns the reading direction would forge lines of logs and tables.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_UNITS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip


def is_job_id(name: str) -> bool:
    """Whether `name` may be the name of a job: a DNS label of at most 63 characters."""
    return _NAME.fullmatch(name) is not None


def cpu_to_nano(quantity: str) -> int:
    """CPUs as the engine wants them: billionths of a core, from `2`, `0.5` or `500m`."""
    if quantity.endswith("m"):
        return int(quantity[:-1]) * 10**6
    return round(float(quantity) * 10**9)


def memory_to_bytes(quantity: str) -> int:
    """Bytes of a Kubernetes quantity such as `512Mi`, `4G` or `1073741824`, rounded up: 0 would mean no limit."""
    number = re.match(r"[0-9.]+", quantity)
    digits = number.group() if number else "0"
    return math.ceil(float(digits) * _UNITS[quantity[len(digits) :]])


def config_file(path: str) -> str:
    """The path below `configs/`, whichever way the user spelled it (`configs/x.yaml` or `x.yaml`)."""
    return path.removeprefix("configs/")


def _matching(pattern: re.Pattern[str], complaint: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(complaint)
        return value

    return AfterValidator(check)


def _number_as_quantity(value: Any) -> Any:
    """`cpu: 2` is as good as `cpu: "2"`, as in Kubernetes."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _positive(value: str) -> str:
    if not re.search(r"[1-9]", value):
        raise ValueError("must be more than zero")
    return value


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("holds a control character: remove it")
    return value


def _contained(path: str) -> str:
    inside = config_file(path)
    parts = inside.split("/")
    if not inside or path.startswith("/") or "\\" in path or _CONTROL.search(path):
        raise ValueError("must be the path of a file under configs/, such as 'train.yaml'")
    if any(part in ("", ".", "..") or len(part) > 255 for part in parts):
        raise ValueError("must stay under configs/: write it without '.', '..' or empty parts")
    return path


def _env_names(env: dict[str, str]) -> dict[str, str]:
    for key, value in env.items():
        if not _ENV_NAME.fullmatch(key):
            raise ValueError(f"{key[:80]!r} cannot name an environment variable: use letters, digits and '_'")
        if "\x00" in value:
            raise ValueError(f"the value of {key[:80]!r} holds a NUL character: remove it")
    return env


def _label_keys(labels: dict[str, str]) -> dict[str, str]:
    for key in labels:
        if not _LABEL_KEY.fullmatch(key):
            raise ValueError(f"{key[:80]!r} is not a valid key: use letters, digits, '-', '_', '.', one '/'")
    return labels


def _label_values(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not _LABEL_VALUE.fullmatch(value):
            raise ValueError(f"the value of {key!r} must be at most 63 letters, digits, '-', '_' or '.'")
    return labels


Name = Annotated[
    str,
    _matching(_NAME, "must be a DNS label: lower-case letters, digits and '-', at most 63, no '-' at the ends"),
    Field(json_schema_extra={"pattern": NAME_PATTERN, "maxLength": 63}),
]
Image = Annotated[
    str,
    Field(max_length=512, json_schema_extra={"pattern": _IMAGE.pattern}),
    _matching(_IMAGE, "is not an image reference: write it like 'registry/name:tag'"),
]
Cpu = Annotated[
    str,
    BeforeValidator(_number_as_quantity),
    _matching(_CPU, "is not an amount of CPU: write it like '2', '0.5' or '500m'"),
    AfterValidator(_positive),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": _CPU.pattern}, {"type": "number"}]}),
]
Memory = Annotated[
    str,
    BeforeValidator(_number_as_quantity),
    _matching(_MEMORY, "is not an amount of memory: write it like '512Mi', '4Gi' or '2G'"),
    AfterValidator(_positive),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": _MEMORY.pattern}, {"type": "number"}]}),
]
Word = Annotated[str, AfterValidator(_printable), Field(max_length=256)]
ConfigPath = Annotated[
    str,
    Field(max_length=1024, json_schema_extra={"pattern": r"^[^/\\]+(?:/[^/\\]+)*$"}),
    AfterValidator(_contained),
]
Argument = Annotated[str, Field(max_length=65536), AfterValidator(lambda v: _no_nul(v))]
Env = Annotated[
    dict[str, str],
    Field(json_schema_extra={"propertyNames": {"pattern": _ENV_NAME.pattern}}),
    AfterValidator(_env_names),
]
Labels = Annotated[
    dict[str, Annotated[str, Field(json_schema_extra={"pattern": _LABEL_VALUE.pattern})]],
    Field(json_schema_extra={"propertyNames": {"pattern": _LABEL_KEY.pattern}}),
    AfterValidator(_label_keys),
    AfterValidator(_label_values),
]
Annotations = Annotated[
    dict[str, str],
    Field(json_schema_extra={"propertyNames": {"pattern": _LABEL_KEY.pattern}}),
    AfterValidator(_label_keys),
]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
ExitCode = Annotated[int, Field(ge=1, le=255)]
Seconds = Annotated[int, Field(le=2**31)]


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("holds a NUL character: remove it")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=False
    )


class Metadata(_Model):
    """What the job is called, and notes for people and tools."""

    name: Name = Field(description="The job's id: a DNS label, at most 63 characters.")
    labels: Labels = Field(default_factory=dict, description="Short tags to find jobs by.")
    annotations: Annotations = Field(default_factory=dict, description="Free notes; nothing depends on them.")


class Resources(_Model):
    """What the container may use at most."""

    cpu: Cpu | None = Field(None, description="CPUs: '2', '0.5' or '500m'.")
    memory: Memory | None = Field(None, description="Memory: '512Mi', '4Gi' or '2G'.")
    gpu: int | None = Field(None, ge=1, le=64, description="GPUs: a whole number of them.")


class JobSpec(_Model):
    """What to run."""

    image: Image | None = Field(None, description="Container image; default from the server's settings.")
    image_pull_policy: PullPolicy = Field(
        "IfNotPresent", description="When to pull: Always, IfNotPresent (whatever the tag) or Never."
    )
    config_path: ConfigPath | None = Field(
        None, description="A file under configs/; its bytes are copied when the job is accepted."
    )
    config: dict[str, JsonValue] | None = Field(None, description="The config itself, instead of configPath.")
    command: list[Argument] | None = Field(None, description="Replaces the image's entry point.")
    args: list[Argument] | None = Field(
        None, description="Arguments; default: --config /data/jobs/<name>/config.yaml --job_id <name>."
    )
    env: Env = Field(default_factory=dict, description="Environment variables; values are strings.")
    resources: Resources = Field(default_factory=Resources, description="Limits of the container.")
    target_host: Word | None = Field(None, description="Host that must run the job; default: 'local'.")
    network: Word | None = Field(None, description="Docker network; default from the server's settings.")
    termination_grace_period_seconds: int = Field(
        30, ge=0, le=86400, description="Seconds between SIGTERM and SIGKILL when the job is stopped."
    )
    rerun: int = Field(0, ge=0, le=2**31, description="Raise it to run the same job again.")
    submitted_by: Word | None = Field(None, description="Who asked for the run.")
    priority: int = Field(0, ge=-1000, le=1000, description="Of the jobs that wait, the higher one goes first.")
    suspend: bool = Field(False, description="Whether the job waits, or is stopped for now, until this is false again.")
    active_deadline_seconds: Seconds | None = Field(
        None, ge=1, description="Longest time that one attempt may run; then it is stopped and has failed."
    )
    stall_seconds: Seconds | None = Field(
        None, ge=1, description="Longest silence of a run, in log and progress; then it is stopped and has failed."
    )
    backoff_limit: int = Field(
        0, ge=0, le=100, description="How often a run that failed is tried again, each time after a longer wait."
    )
    retry_on: list[ExitCode] | None = Field(
        None, description="Exit codes that are worth another try; default: all of them."
    )
    fail_on: list[ExitCode] | None = Field(None, description="Exit codes that end the job at once, whatever is left.")
    ttl_seconds_after_finished: Seconds | None = Field(
        None, ge=0, description="How long the files of a finished job stay; default: for ever."
    )
    ttl_seconds_after_failed: Seconds | None = Field(
        None, ge=0, description="How long the files of a job stay that ended otherwise; default: for ever."
    )
    keep: bool = Field(False, description="Whether the job's files stay whatever the times above say.")

    @model_validator(mode="after")
    def _one_config(self) -> Self:
        if self.config_path is not None and self.config is not None:
            raise ValueError("has both configPath and config: keep one of them")
        if self.config_path is None and self.config is None and self.args is None:
            raise ValueError("has nothing to run with: write configPath, config or args")
        return self

    @model_validator(mode="after")
    def _one_verdict(self) -> Self:
        both = sorted({*(self.retry_on or ())} & {*(self.fail_on or ())})
        if both:
            raise ValueError(f"has exit code {both[0]} in both retryOn and failOn: keep it in one of them")
        return self


class SimulationJob(_Model):
    """A job, as a user writes it."""

    api_version: Literal["opeva.io/v1"] = Field(description="The version of this language.")
    kind: Literal["SimulationJob"] = Field(description="What this document describes.")
    metadata: Metadata
    spec: JobSpec
