"""Config files by name: `configs/<name>`, never anything else, always whole and readable."""

import re
import threading
from typing import Any

import orjson

from opeva_api.spectext import NotWritable, check_values, dump
from opeva_specs.configs import MAX_CONFIG_BYTES, ConfigNames, read_names
from opeva_specs.volume import SharedVolume
from opeva_specs.yamltree import YamlError, read_trees

SUFFIXES = (".yaml", ".yml", ".json")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9 ._-]{0,199}")


class BadConfig(ValueError):
    """The request cannot be granted; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def checked_name(name: Any) -> str:
    """The name of a config file, with or without `configs/` before it; raises BadConfig."""
    bare = name.removeprefix("configs/") if isinstance(name, str) else ""
    if not _NAME.fullmatch(bare) or not bare.endswith(SUFFIXES):
        raise BadConfig(
            400, f"{str(name)[:80]!r} cannot name a config: use letters, digits, ' ', '.', '_', '-', and end in .yaml"
        )
    return bare


def as_bytes(config: Any, name: str) -> bytes:
    """An inline config as the bytes of a file of that name; raises BadConfig."""
    if not isinstance(config, dict):
        raise BadConfig(400, "config must be a JSON object")
    try:
        check_values(config, "config")
        data = orjson.dumps(config, option=orjson.OPT_INDENT_2) if name.endswith(".json") else dump(config).encode()
    except (NotWritable, RecursionError, TypeError) as error:
        raise BadConfig(400, str(error) or "config is nested too deep") from error
    return checked_bytes(data)


def checked_bytes(data: bytes) -> bytes:
    """The bytes, which are a mapping and not too large; raises BadConfig."""
    names_in(data, "the config")
    return data


def names_in(data: bytes, what: str) -> ConfigNames:
    """What a config calls its experiment; raises BadConfig when it is no config at all."""
    if len(data) > MAX_CONFIG_BYTES:
        raise BadConfig(413, f"{what} is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        names = read_names(data)
    except ValueError as error:
        raise BadConfig(400, f"{what} {error}") from error
    if not any(line.strip() and not line.lstrip().startswith(b"#") for line in data.splitlines()):
        raise BadConfig(400, f"{what} is empty: a config is a mapping")
    return names


class ConfigFiles:
    """What lies directly in `configs/`."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume
        self._lock = threading.Lock()  # between looking whether a name is free and taking it

    def names(self) -> list[str]:
        """Every config of a name that we take, in order."""
        try:
            found = [entry.name for entry in (self._volume.root / "configs").iterdir() if not entry.is_symlink()]
        except FileNotFoundError:
            return []
        return sorted(name for name in found if _NAME.fullmatch(name) and name.endswith(SUFFIXES))

    def read(self, path: str) -> bytes:
        """The bytes of a config; raises BadConfig (404) when there is none, or it is a link or a folder."""
        try:
            return self._volume.read(f"configs/{path}", MAX_CONFIG_BYTES)
        except FileNotFoundError as error:
            raise BadConfig(404, f"there is no config {path!r}: see /experiment-configs") from error
        except OSError as error:
            raise BadConfig(400, f"cannot read the config {path!r}: {error.strerror}") from error

    def create(self, name: str, data: bytes) -> None:
        """Store a config durably; raises BadConfig (409) when another one has that name."""
        with self._lock:
            if not self._volume.exists(f"configs/{name}"):
                self._volume.write(f"configs/{name}", data, durable=True)
                return
        if self.read(name) != data:
            raise BadConfig(409, f"there is another config named {name!r}: choose another name, or PUT to replace it")

    def replace(self, name: str, data: bytes) -> None:
        """Store other bytes under a name that is in use; raises BadConfig (404)."""
        self.read(name)
        self._volume.write(f"configs/{name}", data, durable=True)

    def remove(self, name: str) -> None:
        """Remove a config; raises BadConfig (404) when there is none."""
        if not self._volume.exists(f"configs/{name}"):
            raise BadConfig(404, f"there is no config {name!r}: see /experiment-configs")
        self._volume.remove(f"configs/{name}", durable=True)


def as_values(data: bytes, name: str) -> Any:
    """A config as JSON values; raises BadConfig for what only a file can hold (anchors, tags, great size)."""
    try:
        return read_trees(data)[0].value
    except (YamlError, IndexError) as error:
        raw = "GET it with 'Content-Type: application/json' for the text"
        raise BadConfig(422, f"cannot show {name!r} as an object: {error}; {raw}") from error
