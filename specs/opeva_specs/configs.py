"""Config files: bytes that the simulator reads; we look at their names only, and never compose them.

Anchors are allowed here, so a config may mean far more than its bytes: it is read as events, which cost no more
than the file is long.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

MAX_CONFIG_BYTES = 2**20
_WANTED = {
    ("experiment", "name"): "experiment_name",
    ("experiment", "run_name"): "run_name",
    ("metadata", "experiment_name"): "experiment_name",
    ("metadata", "run_name"): "run_name",
    ("simulator", "dataset_path"): "dataset_path",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigNames:
    """What a config calls its experiment and its run, and where its data are; None where it does not say."""

    experiment_name: str | None = None
    run_name: str | None = None
    dataset_path: str | None = None

    @property
    def job_name(self) -> str:
        """The display name clients know: experiment and run, joined by '-'."""
        return f"{self.experiment_name or 'UnnamedExperiment'}-{self.run_name or 'UnnamedRun'}"


def read_names(data: bytes) -> ConfigNames:
    """The names in a config file (YAML or JSON); raises ValueError when it is not a mapping or not readable."""
    try:
        events = yaml.parse(data.decode("utf-8-sig"), Loader=yaml.CSafeLoader)
        return ConfigNames(**_names(events))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValueError(f"is not readable YAML{where}") from error


def _names(events: Iterable[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    path: list[str | None] = []  # the pending key of every open collection; None where a key is due
    for event in events:
        match event:
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                if not path and isinstance(event, yaml.SequenceStartEvent):
                    raise ValueError("is a list: a config is a mapping")
                path.append(None if isinstance(event, yaml.MappingStartEvent) else "")
            case yaml.CollectionEndEvent():
                path.pop()
                _collection_ended(path)
            case yaml.ScalarEvent() | yaml.AliasEvent():
                _scalar(event, path, found)
            case _:
                pass  # the stream's and the documents' own marks
    return found


def _scalar(event: yaml.Event, path: list[str | None], found: dict[str, str]) -> None:
    if not path:
        raise ValueError("is a single word: a config is a mapping")
    word = event.value if isinstance(event, yaml.ScalarEvent) else ""
    if path[-1] is None:
        path[-1] = word or "?"
        return
    wanted = _WANTED.get((path[0] or "", path[1] or "")) if len(path) == 2 else None
    if wanted and word and wanted not in found:
        found[wanted] = "".join(c for c in word if c.isprintable())[:200]
    _value_ended(path)


def _collection_ended(path: list[str | None]) -> None:
    if path and path[-1] is None:
        path[-1] = "?"  # it was a key: its value is still to come
        return
    _value_ended(path)


def _value_ended(path: list[str | None]) -> None:
    if path and path[-1] != "":
        path[-1] = None
