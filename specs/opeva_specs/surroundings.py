"""What a job needs around it: a config, a data set, a host, room on the disk. Each missing one is a blocker."""

import difflib
from collections.abc import Iterable
from pathlib import PurePosixPath

from opeva_specs.status import Reason
from opeva_specs.terms import Blocker
from opeva_specs.volume import SharedVolume

DATASETS = PurePosixPath("/data/datasets")  # as jobs see it


def config_missing(message: str) -> Blocker:
    """The config cannot be read now."""
    return Blocker(kind=Reason.CONFIG_MISSING, message=message, unblocks="the file is there and can be read")


def data_set_of(path: str | None) -> str | None:
    """The name of the data set that a config's path leads into; None when it lies elsewhere, as inside the image."""
    if path is None or not path.startswith(f"{DATASETS}/"):
        return None
    name = path.removeprefix(f"{DATASETS}/").split("/")[0]
    return name if name not in ("", ".", "..") else None


def data_set_missing(volume: SharedVolume, name: str) -> Blocker | None:
    """None while the data set is on the volume."""
    try:
        if volume.exists(f"datasets/{name}"):
            return None
        words = f"waits for the data set {name!r}: there is no datasets/{name} on the shared volume"
    except OSError as error:
        words = f"waits for the data set {name!r}: cannot look at datasets/{name}: {error.strerror}"
    return Blocker(kind=Reason.DATASET_MISSING, message=words, unblocks="it is put there", details={"dataset": name})


def host_unknown(host: str, known: Iterable[str]) -> Blocker:
    """No host of that name."""
    names = sorted(known)
    close = difflib.get_close_matches(host, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    words = f"there is no host {host!r} here, only {', '.join(map(repr, names))}{hint}"
    return Blocker(
        kind=Reason.HOST_UNKNOWN, message=words, unblocks="the host is named in the hosts file", details={"host": host}
    )


def host_unusable(host: str, why: str) -> Blocker:
    """The host answers, but its jobs would not see this volume."""
    words = f"host {host!r} cannot be used: {why}"
    return Blocker(
        kind=Reason.HOST_UNUSABLE, message=words, unblocks="the shared volume is there", details={"host": host}
    )


def disk_pressure(volume: SharedVolume, least: int) -> Blocker | None:
    """None while the volume has room; told without the figure, which changes from look to look."""
    try:
        if volume.free_bytes() >= least:
            return None
    except OSError as error:
        words = f"cannot tell how much room the shared volume has: {error.strerror}"
        return Blocker(kind=Reason.DISK_PRESSURE, message=words, unblocks="the volume can be read")
    words = f"the shared volume has less than {least // 2**20} MiB free"
    return Blocker(kind=Reason.DISK_PRESSURE, message=words, unblocks="room is made", details={"needed": least})
