"""Whether this process runs in a container, by what the kernel tells of it."""

import contextlib
from pathlib import Path

from . import docker_json


def own_container_id() -> str | None:
    """The id of the container that this process runs in; None on a bare host."""
    return docker_json.own_container_id(_text("/proc/self/mountinfo"), _text("/proc/self/cgroup"))


def _text(path: str) -> str:
    """What a file of /proc says; nothing where there is none."""
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""
