"""Listing: one walk through `specs/`, and no thought yet about what it means."""

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from opeva_specs.gitflux import stale_marks
from opeva_specs.survey import is_ignored, is_ignored_name

SUFFIXES = (".yaml", ".yml", ".json")
Signature = tuple[int, int, int, int]


@dataclass(slots=True)
class Listing:
    """What a walk met; `hidden` are paths that could not be looked into, and why."""

    files: dict[str, Signature] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)  # what git left behind long ago
    is_torn: bool = False  # something was moved meanwhile, maybe to where the walk had been before


def walk(specs: Path, now: datetime) -> Listing:
    """Look through all folders; raises OSError only when `specs/` itself cannot be listed."""
    found, folders = Listing(), [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(specs / folder) as entries:
                for entry in entries:
                    _note(found, folders, entry, f"{folder}/{entry.name}" if folder else entry.name, now)
        except OSError as error:
            if not folder:
                raise
            found.is_torn |= isinstance(error, FileNotFoundError | NotADirectoryError)
            found.hidden[folder] = error.strerror or str(error)
    return found


def _note(found: Listing, folders: list[str], entry: os.DirEntry[str], path: str, now: datetime) -> None:
    if entry.name == ".git":
        found.stale += [f"{path}/{mark}" for mark in stale_marks(Path(entry.path), now)]
    if is_ignored_name(entry.name) or not entry.name.isprintable():
        return
    try:
        if entry.is_dir(follow_symlinks=False):
            folders.append(path)
        elif entry.name.endswith(SUFFIXES):
            found.files[path] = signature_of(entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        found.is_torn = True
    except OSError as error:
        found.hidden[path] = error.strerror or str(error)


def is_below(source: str, paths: Container[str]) -> bool:
    """Whether one of the paths is that of the file, or of a folder around it."""
    return any(path in paths for path in _with_parents(source))


def _with_parents(source: str) -> Iterator[str]:
    while source:
        yield source
        source = source.rpartition("/")[0]


def is_spec_file(source: str) -> bool:
    """Whether a path below `specs/` is one we read."""
    is_named_well = source.endswith(SUFFIXES) and source.isprintable()
    return is_named_well and not any(is_ignored(Path(part)) for part in source.split("/"))


def signature_of(found: os.stat_result) -> Signature:
    """What changes whenever a file is replaced or written."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
