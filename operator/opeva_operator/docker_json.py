"""Docker's JSON, read and written; pure, and knows no Docker library.

ContainerSpec -> body of a creation        inspection, row of a listing -> Container
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from .docker_probe import IMAGE
from .engine import (
    ATTEMPT,
    DIGEST,
    GENERATION,
    INSTANCE,
    JOB,
    Container,
    ContainerSpec,
    EngineInfo,
    ImageTag,
    Mount,
    PullKind,
)

WATCHTOWER = "com.centurylinklabs.watchtower.enable"  # an image updater must never replace a job
LOG_FILES = 2  # the engine keeps the current file and one older
HOSTNAME_LENGTH = 63  # the most the kernel takes


def creation(wanted: ContainerSpec, instance: str) -> dict[str, Any]:
    """The body that asks Docker for exactly this container."""
    body: dict[str, Any] = {
        "Image": wanted.image,
        "Cmd": list(wanted.args),
        "Env": [f"{name}={value}" for name, value in wanted.env.items()],
        "Labels": {**wanted.labels, WATCHTOWER: "false", **_our_labels(wanted, instance)},
        "Hostname": wanted.job[:HOSTNAME_LENGTH].rstrip("-."),
        "Tty": False,
        "OpenStdin": False,
        "HostConfig": _host_config(wanted),
    }
    if wanted.command is not None:
        body["Entrypoint"] = list(wanted.command)
    return body


def _our_labels(wanted: ContainerSpec, instance: str) -> dict[str, str]:
    return {
        INSTANCE: instance,
        JOB: wanted.job,
        GENERATION: str(wanted.generation),
        ATTEMPT: str(wanted.attempt),
        DIGEST: wanted.digest,
    }


def _host_config(wanted: ContainerSpec) -> dict[str, Any]:
    config: dict[str, Any] = {
        "NetworkMode": wanted.network,
        "Init": True,  # a process 1 that passes signals on and reaps zombies
        "AutoRemove": False,  # the exit code would go with the container
        "RestartPolicy": {"Name": "no"},
        "ShmSize": wanted.shm_bytes,
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(wanted.log_max_bytes), "max-file": str(LOG_FILES)},
        },
        "Mounts": [_mount(mount) for mount in wanted.mounts],
    }
    if wanted.nano_cpus is not None:
        config["NanoCpus"] = wanted.nano_cpus
    if wanted.memory_bytes is not None:
        config["Memory"] = wanted.memory_bytes
        config["MemorySwap"] = wanted.memory_bytes  # equal means: no swap on top
    if wanted.pids_limit is not None:
        config["PidsLimit"] = wanted.pids_limit
    if wanted.gpus:
        config["DeviceRequests"] = [{"Driver": "", "Count": wanted.gpus, "Capabilities": [["gpu"]]}]
    return config


def _mount(mount: Mount) -> dict[str, Any]:
    if mount.source is None:
        return {"Type": "tmpfs", "Target": mount.target, "ReadOnly": mount.read_only}
    # A mount of this kind is refused when its source is missing; the older "binds" would create the folder.
    return {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }


def from_inspection(found: Mapping[str, Any], instance: str) -> Container:
    """The container of an inspection, ours or foreign."""
    state = found["State"]
    labels = found["Config"]["Labels"] or {}
    started_at = instant(state["StartedAt"])
    has_ended = state["Status"] in ("exited", "dead", "removing") and started_at is not None
    return Container(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        **_identity(labels),
        state=state["Status"],
        is_ours=labels.get(INSTANCE) == instance,
        started_at=started_at,
        finished_at=_ending(state, started_at) if has_ended else None,
        exit_code=state["ExitCode"] if has_ended else None,
        oom_killed=bool(state["OOMKilled"]),
        image=found["Config"]["Image"],
        image_id=found["Image"],
        stop_signal=found["Config"].get("StopSignal") or "SIGTERM",
        error=state["Error"],
    )


def _ending(state: Mapping[str, Any], started_at: datetime | None) -> datetime | None:
    """When it ended; a short run may be over before Docker notes that it began, yet none ends before its start."""
    finished_at = instant(state["FinishedAt"])
    return max(finished_at, started_at) if finished_at and started_at else finished_at


def from_listing(row: Mapping[str, Any], instance: str) -> Container:
    """The container of one row of a listing, which tells no times and no exit code."""
    labels = row["Labels"] or {}
    return Container(
        id=row["Id"],
        name=(row["Names"] or [""])[0].removeprefix("/"),
        **_identity(labels),
        state=row["State"],
        is_ours=labels.get(INSTANCE) == instance,
        image=row["Image"],
        image_id=row["ImageID"],
    )


def _identity(labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "job": labels.get(JOB, ""),
        "generation": _number(labels.get(GENERATION)),
        "attempt": _number(labels.get(ATTEMPT)),
        "digest": labels.get(DIGEST, ""),
    }


def _number(label: str | None) -> int:
    return int(label) if label is not None and label.isascii() and label.isdigit() else 0


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def instant(text: str) -> datetime | None:
    """The moment of Docker's RFC 3339 text, cut to microseconds, in UTC; None for its year 1, which means never."""
    seconds, fraction, zone = _time_parts(text)
    if seconds.startswith("0001-"):
        return None
    return datetime.fromisoformat(f"{seconds}.{fraction[:6]}{zone}").astimezone(UTC)


def since_parameter(at: str) -> str:
    """The same moment as `seconds.nanoseconds` since 1970: the only form in which Docker takes nanoseconds."""
    seconds, fraction, zone = _time_parts(at)
    whole = datetime.fromisoformat(f"{seconds}{zone}")
    return f"{int(whole.timestamp())}.{fraction}"


def _time_parts(text: str) -> tuple[str, str, str]:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read {text!r} as a time: Docker writes RFC 3339, like 2026-01-31T09:00:00.123456789Z")
    return match[1], (match[2] or "").ljust(9, "0"), match[3].replace("Z", "+00:00")


EVENTS_KEPT = 256  # how many of its last events an engine can tell again


def lacks_start(lines: Iterable[bytes], container_id: str) -> bool:
    """Whether these are all events of an engine since it started, and that container's start is not among them."""
    known = [json.loads(line) for line in lines]
    has_start = any(event["Action"] == "start" and event["Actor"]["ID"] == container_id for event in known)
    return len(known) < EVENTS_KEPT and not has_start


_GPU = re.compile(r"nvidia\.com/gpu=\d+")  # each has names of other kinds too


def engine_info(found: Mapping[str, Any]) -> EngineInfo:
    """What matters of Docker's words about itself; GPUs are those it can hand out by their numbers."""
    devices = found.get("DiscoveredDevices") or ()
    at = instant(found["SystemTime"])
    if at is None:
        raise ValueError("the engine's clock says that it is never")
    return EngineInfo(
        id=str(found["ID"]),
        cpus=int(found["NCPU"]),
        memory=int(found["MemTotal"]),
        gpus=sum(1 for device in devices if _GPU.fullmatch(str(device.get("ID")))),
        at=at,
        version=str(found.get("ServerVersion", "")),
        system=str(found.get("OperatingSystem", "")),
    )


def image_tags(row: Mapping[str, Any]) -> list[ImageTag]:
    """The names of one row of a listing of images, but not of the one that probes are made of."""
    digests = {repository_of(known): str(known) for known in row.get("RepoDigests") or ()}
    return [
        ImageTag(
            name=name,
            id=row["Id"],
            digest=digests.get(repository_of(name)),
            created_at=datetime.fromtimestamp(row["Created"], UTC),
        )
        for name in row.get("RepoTags") or ()
        if name not in ("<none>:<none>", IMAGE)
    ]


def resolved_digest(image: str, found: Mapping[str, Any]) -> str:
    """`repo@sha256:…` of the reference's own repository if the image came from a registry, else the image's id."""
    repository = repository_of(image)
    for known in found.get("RepoDigests") or ():
        if repository_of(known) == repository:
            return str(known)
    return str(found["Id"])


def repository_of(reference: str) -> str:
    """The reference without its tag and digest; a colon before the last slash is a port."""
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


_UNAUTHORISED = (
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "incorrect username or password",
    "access denied",
    "denied:",
    "forbidden",
)
_NOT_FOUND = (
    "manifest unknown",
    "manifest for",
    "name unknown",
    "not found",
    "does not exist",
    "invalid reference format",
)


def pull_kind(message: str) -> PullKind:
    """What Docker's words on a failed pull mean for the person who has to mend it."""
    words = message.lower()
    # Docker Hub says "denied" of what does not exist too, in these words: the likelier cause is a typing error.
    if "repository does not exist or may require" in words:
        return "not found"
    if any(sign in words for sign in _UNAUTHORISED):
        return "unauthorised"
    if any(sign in words for sign in _NOT_FOUND):
        return "not found"
    return "unreachable"


_CONTAINER_ID = re.compile(r"(?:/|-|^)([0-9a-f]{64})(?:/|\.scope|$)")


def own_container_id(mountinfo: str, cgroup: str) -> str | None:
    """The id of the container that the process with these /proc/self files runs in; None on a bare host."""
    for line in mountinfo.splitlines():
        fields = line.split()
        # Docker mounts /etc/hostname and its like from …/containers/<id>/ of its own folder.
        if len(fields) > 4 and "/containers/" in fields[3] and fields[4].startswith("/etc/"):
            match = _CONTAINER_ID.search(fields[3])
            if match:
                return match[1]
    for line in cgroup.splitlines():
        match = _CONTAINER_ID.search(line.rpartition(":")[2])
        if match:
            return match[1]
    return None


def host_source(path: str, mounts: Iterable[Mapping[str, Any]]) -> str | None:
    """The host's path of a path in a container with these mounts; None if it lies on none of them."""
    wanted = PurePosixPath(path)
    over = [mount for mount in mounts if wanted.is_relative_to(mount["Destination"]) and mount.get("Source")]
    if not over:
        return None
    nearest = max(over, key=lambda mount: len(PurePosixPath(mount["Destination"]).parts))
    return str(PurePosixPath(nearest["Source"]) / wanted.relative_to(nearest["Destination"]))
