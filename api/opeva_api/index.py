"""Index: the snapshot of all jobs that every read is served from.

    refresh(names)   look at the files of these jobs again; what was seen before does not matter
    rescan()         look at whatever changed, anywhere
    get, page        answers out of memory
    lineup           the active ones among them, in the order in which they may start

One lock is held while files are looked at; reading the snapshot takes none, because records are never changed in place.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import orjson

from opeva_api.lineup import Lineup
from opeva_api.record import Record, from_rejection, from_spec, from_status, job_keys, with_wish
from opeva_api.sanitise import loads_lenient
from opeva_specs.model import is_job_id
from opeva_specs.parse import SpecInvalid, parse
from opeva_specs.settings import Settings
from opeva_specs.status import Wish
from opeva_specs.store import MAX_STATUS_BYTES, ControlStore, Damaged
from opeva_specs.volume import SharedVolume
from opeva_specs.yamltree import MAX_BYTES

logger = logging.getLogger(__name__)

MAX_INFO_BYTES = 64 * 1024


class Index:
    """All jobs of one volume, as clients are told of them."""

    def __init__(self, volume: SharedVolume, settings: Settings) -> None:
        self._volume, self._settings = volume, settings
        self.lineup = Lineup(settings)
        self._control = ControlStore(volume)
        self._lock = threading.Lock()
        self._shown: dict[str, Record] = {}
        self._order: tuple[Record, ...] | None = None
        self._rejected: dict[str, Record] = {}
        self._wished: set[str] = set()

    # -- answers -------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Record | None:
        """The job, None if there is none of that name."""
        return self._shown.get(name)

    def __len__(self) -> int:
        return len(self._shown)

    def page(self, status: str | None, offset: int, limit: int | None) -> tuple[tuple[Record, ...], int]:
        """Some jobs, newest first, and how many there are in all pages."""
        chosen = self._newest_first()
        if status is not None:
            chosen = tuple(record for record in chosen if record.word == status)
        return chosen[offset:] if limit is None else chosen[offset : offset + limit], len(chosen)

    def records(self) -> list[Record]:
        """All jobs, in no order."""
        return list(self._shown.values())

    def live(self) -> list[str]:
        """Jobs that have started and not ended: what they write may change any moment."""
        return [r.job_id for r in list(self._shown.values()) if r.word in ("running", "stop_requested", "launching")]

    def _newest_first(self) -> tuple[Record, ...]:
        order = self._order
        if order is None:
            order = tuple(sorted(list(self._shown.values()), key=lambda r: (r.queued_at, r.job_id), reverse=True))
            self._order = order
        return order

    # -- looking -------------------------------------------------------------------------------------------------

    def put(self, record: Record) -> None:
        """Show a job that was accepted just now, unless it is known already."""
        with self._lock:
            if record.job_id not in self._shown:
                self._show(record.job_id, record)

    def refresh(self, names: Iterable[str]) -> None:
        """Look at these jobs again."""
        for name in names:
            with self._lock:
                self._look(name)

    def rescan(self) -> None:
        """Look at every job whose files came, went or changed since they were last looked at."""
        self.rescan_rejected()
        marks = self._marks("status")
        shown = dict(self._shown)
        changed = {name for name, mark in marks.items() if name not in shown or shown[name].mark != mark}
        gone = {name for name in shown if name not in marks}
        with contextlib.suppress(OSError):
            self._wished |= self._marks("control").keys()
        unseen = {name for name in self._marks("specs/api", ".yaml") if name not in marks}
        self.refresh(changed | gone | unseen | self._wished)

    def rescan_rejected(self) -> None:
        """Look at the files that could not be accepted."""
        found = {r.job_id: r for r in self._rejections()}
        with self._lock:
            names = {name for name in found.keys() | self._rejected.keys()}
            self._rejected = found
        self.refresh(names)

    def _look(self, name: str) -> None:
        try:
            record = self._read(name)
            wish = self._wish(name)
        except OSError as error:  # nobody can tell now: what was known stays
            logger.warning("job %s: cannot read its files: %s", name, error.strerror)
            return
        self._show(name, None if record is None else with_wish(record, wish))

    def _show(self, name: str, record: Record | None) -> None:
        known = self._shown.get(name)
        if known == record:
            return
        if record is None:
            del self._shown[name]
        else:
            self._shown[name] = record
        self.lineup.place(name, record.standing if record is not None else None)
        self._order = None

    def _read(self, name: str) -> Record | None:
        try:
            data, mark, seen_at = self._read_marked(f"status/{name}.json", MAX_STATUS_BYTES)
        except FileNotFoundError:
            return self._without_status(name)
        known = self._shown.get(name)
        try:
            return from_status(orjson.loads(data), self._extras(name, known), self._settings, mark, seen_at)
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("job %s: status/%s.json is damaged; told as it was before", name, name)
            return known

    def _without_status(self, name: str) -> Record | None:
        known = self._shown.get(name)
        if known is not None and known.origin == "status" and not self._volume.exists("status"):
            return known  # a folder that is gone says nothing about its jobs
        rejection = self._rejected.get(name)
        if rejection is not None:
            is_known = any(r.source == rejection.source and r.origin == "status" for r in self._shown.values())
            return None if is_known else rejection
        return self._unseen(name)

    def _unseen(self, name: str) -> Record | None:
        try:
            data, mark, at = self._read_marked(f"specs/api/{name}.yaml", MAX_BYTES)
        except FileNotFoundError:
            return None
        known = self._shown.get(name)
        if known is not None and known.origin == "unseen" and known.mark == mark and known.word == "queued":
            return known
        try:
            documents = parse(data)
        except SpecInvalid:  # the operator will say so in rejected/
            return None
        mine = [document for document in documents if document.job.metadata.name == name]
        return from_spec(mine[0].job, mine[0].digest, at, self._settings, mark) if mine else None

    def _wish(self, name: str) -> Wish | None:
        try:
            wish = self._control.read(name)
        except (Damaged, OSError):  # what nobody can read is no wish; the status stands
            wish = None
        if wish is None:
            self._wished.discard(name)
        else:
            self._wished.add(name)
        return wish

    def _extras(self, name: str, known: Record | None) -> Mapping[str, Any]:
        """What the job added to its job_info; while that cannot be read, what was last read."""
        try:
            data = self._volume.read(f"jobs/{name}/job_info.json", MAX_INFO_BYTES)
            return job_keys(loads_lenient(data))
        except (OSError, ValueError):
            return job_keys(known.told()["job_info"]) if known is not None else {}

    def _read_marked(self, relative: str, limit: int) -> tuple[bytes, int, float]:
        fd = self._volume.open(relative)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            return file.read(limit), _mark(found), found.st_mtime

    def _marks(self, folder: str, suffix: str = ".json") -> dict[str, int]:
        """Every job with a file in the folder, and the mark of the file; nothing when there is no folder yet."""
        try:
            with self._volume.folder(folder) as folder_fd, os.scandir(folder_fd) as entries:
                return {
                    entry.name.removesuffix(suffix): _mark(entry.stat(follow_symlinks=False))
                    for entry in entries
                    if entry.name.endswith(suffix) and is_job_id(entry.name.removesuffix(suffix))
                }
        except FileNotFoundError:
            return {}

    def _rejections(self) -> list[Record]:
        root = self._volume.rejected
        found = []
        for folder, _, files in os.walk(root):
            for file in files:
                inside = PurePosixPath(os.path.relpath(folder, root), file)
                record = self._rejection(inside) if file.endswith(".json") else None
                found += [record] if record is not None else []
        return found

    def _rejection(self, file: PurePosixPath) -> Record | None:
        source = str(file).removesuffix(".json")
        name = PurePosixPath(source).stem
        if not is_job_id(name):
            return None
        try:
            data, mark, at = self._read_marked(f"rejected/{file}", MAX_STATUS_BYTES)
            first = orjson.loads(data)["errors"][0]
            message = f"line {first['line']}: {first['message']}"
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None
        return from_rejection(name, source, message, at, mark)


def _mark(found: os.stat_result) -> int:
    return hash((found.st_ino, found.st_mtime_ns, found.st_size))
