"""A look at a folder of the engine's host, through a container that is never started; knows no Docker library.

Its image is empty and made on the spot, so no registry is asked.
"""

import io
import tarfile
from collections.abc import Iterable
from typing import Any

from .engine import INSTANCE, PROBE

IMAGE = "opeva-probe:1"
FOLDER = "/data"
MOST_BYTES = 64 * 1024
EMPTY_TAR = b"\0" * 1024


def container_name(instance: str) -> str:
    """One for each volume; no job's container can be called so."""
    return f"opeva-{instance[:8]}_probe"


def creation(instance: str, folder: str) -> dict[str, Any]:
    """The body that asks Docker for a container that sees the folder."""
    mount = {"Type": "bind", "Source": folder, "Target": FOLDER, "ReadOnly": True}
    return {
        "Image": IMAGE,
        "Cmd": ["-"],  # Docker wants a command, though it is never run
        "Labels": {INSTANCE: instance, PROBE: "true"},
        "HostConfig": {"NetworkMode": "none", "Mounts": [mount]},
    }


def content(chunks: Iterable[bytes]) -> bytes | None:
    """The one file of an archive; None where it is none, or too large to be what is looked for."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) > MOST_BYTES:
            return None
    try:
        with tarfile.open(fileobj=io.BytesIO(held)) as archive:
            member = archive.next()
            file = archive.extractfile(member) if member is not None and member.isfile() else None
            return file.read() if file is not None else None
    except tarfile.TarError:
        return None
