"""Data sets: folders under `datasets/`, whole or not there at all."""

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Iterator
from typing import Any

from fastapi import HTTPException

from opeva_api import archive, tree
from opeva_api.recent import Recent
from opeva_api.upload import Upload, check_room
from opeva_specs.volume import SharedVolume

ROOT = "datasets"
DESCRIPTION = ".description"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9 ._-]{0,98}[A-Za-z0-9_-]|[A-Za-z0-9_-]")
_BOX, _TRASH = ".upload-", ".trash-"
_MAX_DESCRIPTION = 1024


def checked_name(name: str) -> str:
    """The name of a data set; raises 400."""
    if not _NAME.fullmatch(name):
        raise HTTPException(
            400, f"{name[:80]!r} cannot name a data set: use letters, digits, ' ', '.', '_', '-', at most 100"
        )
    return name


class DataSets:
    """What lies in `datasets/`; a folder that is not whole yet has a name that starts with a dot."""

    def __init__(self, volume: SharedVolume, limit: int, least_free: int) -> None:
        self._volume, self._limit, self._least_free = volume, limit, least_free
        self._lock = threading.Lock()  # between looking whether a name is free and taking it
        self._about: Recent[tuple[str, int, int], dict[str, Any]] = Recent(512)

    def rows(self) -> list[dict[str, Any]]:
        """All data sets by name, with their size and what they are."""
        return [self._row(name) for name in self.names()]

    def names(self) -> list[str]:
        """Every folder of a name that we take, in order."""
        try:
            found = list((self._volume.root / ROOT).iterdir())
        except FileNotFoundError:
            return []
        return sorted(e.name for e in found if _NAME.fullmatch(e.name) and e.is_dir() and not e.is_symlink())

    def listing(self, name: str) -> tree.Listing:
        """The files of a data set; raises 404 when there is none of that name, 409 when it is too large to pack."""
        try:
            listing = tree.listed(self._volume, f"{ROOT}/{name}")
        except OSError as error:
            raise _unknown(name) from error
        if not listing.is_whole:
            raise HTTPException(409, f"the data set {name!r} has more than {tree.MAX_FILES} files: copy its folder")
        return listing

    def new_box(self) -> str:
        """A folder to receive an upload in."""
        box = f"{ROOT}/{_BOX}{secrets.token_hex(8)}"
        for part in ("sent", "whole"):
            with self._volume.folder(f"{box}/{part}", create=True):
                pass
        return box

    def upload_into(self, box: str, boundary: bytes) -> Upload:
        """What takes the body of an upload."""
        return Upload(self._volume, f"{box}/sent", boundary, self._limit, self._least_free)

    def arranged(self, box: str, sent: Upload) -> Iterator[None]:
        """Make a data set of what was sent: one zip file, or plain files; raises 400 for what is none."""
        first = sent.files[0]
        if len(sent.files) == 1 and archive.is_zip(self._volume, first.path):
            for _ in archive.unpacked(self._volume, first.path, f"{box}/whole", self._limit):
                check_room(self._volume, self._least_free, archive.STEP_BYTES)
                yield
        else:
            for file in sent.files:
                self._put(file.path, f"{box}/whole/{archive.checked_path(file.name)}")
                yield
        if not tree.listed(self._volume, f"{box}/whole", 1).files:
            raise HTTPException(400, "the upload holds no file that could be used")
        if words := sent.fields.get("description"):
            text = words[:_MAX_DESCRIPTION].encode()
            self._volume.write(f"{box}/whole/{DESCRIPTION}", text, durable=True)

    def place(self, box: str, name: str) -> None:
        """Give what was arranged its name; raises 409 when that is taken."""
        with self._lock:
            if self._volume.exists(f"{ROOT}/{name}"):
                raise HTTPException(409, f"there is a data set {name!r} already: delete it, or choose another name")
            self._volume.rename(f"{box}/whole", f"{ROOT}/{name}")
            with self._volume.folder(ROOT) as fd:
                os.fsync(fd)

    def remove(self, name: str) -> None:
        """Remove a data set; raises 404 when there is none of that name."""
        trash = f"{ROOT}/{_TRASH}{secrets.token_hex(8)}"
        with self._lock:
            if name not in self.names():
                raise _unknown(name)
            self._volume.rename(f"{ROOT}/{name}", trash)
        self._volume.remove_tree(trash)

    def throw_away(self, box: str) -> None:
        """Remove what is left of an upload."""
        self._volume.remove_tree(box)

    def sweep(self) -> None:
        """Remove what an earlier process left half done; nobody else may be at work."""
        try:
            found = list((self._volume.root / ROOT).iterdir())
        except OSError:
            return
        for entry in found:
            if entry.name.startswith((_BOX, _TRASH)):
                with contextlib.suppress(OSError):  # it stays hidden
                    self._volume.remove_tree(f"{ROOT}/{entry.name}")

    def _put(self, source: str, target: str) -> None:
        try:
            is_taken = self._volume.exists(target)
        except NotADirectoryError:  # there is a file where this one has a folder
            is_taken = True
        if is_taken:
            raise HTTPException(400, f"the file {target.rpartition('/')[2][:80]!r} stands there twice")
        self._volume.rename(source, target)

    def _row(self, name: str) -> dict[str, Any]:
        about = (self._volume.root / ROOT / name).stat(follow_symlinks=False)
        key = (name, about.st_ino, about.st_mtime_ns)
        known = self._about.get(key)
        if known is None:
            known = self._about.keep(key, self._looked_at(name))
        return {"name": name, **known, "modified_at": about.st_mtime}

    def _looked_at(self, name: str) -> dict[str, Any]:
        try:
            files = tree.listed(self._volume, f"{ROOT}/{name}").files
        except OSError:
            files = ()
        shown = [file for file in files if file.path != DESCRIPTION]
        size = sum(file.size for file in shown)
        return {"description": self._description(name), "file_count": len(shown), "size_bytes": size}

    def _description(self, name: str) -> str:
        try:
            data = self._volume.read(f"{ROOT}/{name}/{DESCRIPTION}", 4 * _MAX_DESCRIPTION)
        except OSError:
            return ""
        return data.decode("utf-8", "replace").strip()


def _unknown(name: str) -> HTTPException:
    return HTTPException(404, f"there is no data set {name!r}: see /datasets")
