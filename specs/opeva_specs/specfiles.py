"""SpecStore: the files below `specs/`, and which job each of them wants.

    look(path) / scan()  ->  names that may have changed
    wanted(name)         ->  Present, Absent, or Unsure: an unreadable or half-changed folder deletes nothing

A file is read as a whole, hashed, and parsed only if its hash is new. One that was not seen to be closed or renamed
into place is believed after two equal looks a second apart.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from opeva_specs.gitflux import in_flux
from opeva_specs.model import SimulationJob
from opeva_specs.parse import SpecError, SpecInvalid, parse_file
from opeva_specs.sentinel import sentinel_problem
from opeva_specs.survey import is_ignored, is_ignored_name
from opeva_specs.volume import SharedVolume
from opeva_specs.wanted import Absent, Doc, Present, Unsure, Wanted
from opeva_specs.yamltree import MAX_BYTES

SUFFIXES = (".yaml", ".yml", ".json")
SECOND_LOOK = timedelta(seconds=1)
GIT_RECHECK = timedelta(seconds=0.5)
Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier runs of the operator know of a file: it need not be parsed while its hash is this."""

    source_hash: str
    docs: tuple[Doc, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFile:
    """A file as it was last believed.

    `errors` when its present bytes cannot be accepted (`docs` are the last good); `refused` tells of documents that
    are left out because their name stands in the file before.
    """

    signature: Signature
    source_hash: str
    docs: tuple[Doc, ...]
    errors: tuple[SpecError, ...] = ()
    refused: tuple[SpecError, ...] = ()
    is_unreadable: bool = False
    is_parsed: bool = True


@dataclass(frozen=True, slots=True)
class _Glance:
    """A look at a file that is not believed yet."""

    signature: Signature
    source_hash: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found: names to reconcile, files whose verdict changed, and when to look again."""

    names: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    again_after: timedelta | None = None


class SpecStore:
    """The index of spec files. Not thread-safe: its caller holds one lock around every call."""

    def __init__(self, volume: SharedVolume, instance: str, known: Callable[[str], Known | None]) -> None:
        self._volume, self._instance, self._known = volume, instance, known
        self.files: dict[str, SpecFile] = {}
        self.problems: tuple[str, ...] = ()
        self._glances: dict[str, _Glance] = {}
        self._owners: dict[str, str] = {}  # name -> the file that keeps it
        self._holders: dict[str, set[str]] = {}  # name -> every file that has it
        self._since: dict[str, datetime] = {}
        self._is_listed = False
        self._trusted_since: datetime | None = None
        self._sentinel_at: datetime | None = None

    # -- looking -------------------------------------------------------------------------------------------------

    def scan(self, now: datetime) -> Look:
        """Look at every file; a folder that cannot be listed leaves everything as it was."""
        try:
            found = dict(self._walk())
        except OSError as error:
            self.problems = (f"cannot list specs/: {error.strerror}; nothing is deemed deleted",)
            self._is_listed = False
            return Look(again_after=SECOND_LOOK)  # it may only have been changed while it was listed
        was_in_doubt = self.doubt() is not None
        self._is_listed = True
        self.problems = sentinel_problem(self._volume, self._instance)
        if was_in_doubt:
            self._trusted_since = now  # what is missing now may be on its way back
        gone = [source for source in self.files if source not in found]
        looks = [self._consider(source, signature, False, now) for source, signature in found.items()]
        return _joined([*looks, *(self._consider(source, None, True, now) for source in gone)])

    def look(self, source: str, is_complete: bool, now: datetime) -> Look:
        """Look at one file; `is_complete` when it was seen to be closed after writing or renamed into place."""
        if not is_spec_file(source):
            return Look()
        try:
            signature = _signature(os.lstat(self._volume.specs / source))
        except (FileNotFoundError, NotADirectoryError):
            signature = None
        except OSError as error:
            self.problems = (f"cannot look at specs/{source}: {error.strerror}",)
            return Look()
        return self._consider(source, signature, is_complete, now)

    def _walk(self) -> Iterator[tuple[str, Signature]]:
        folders = [""]
        while folders:
            folder = folders.pop()
            with os.scandir(self._volume.specs / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if is_ignored_name(entry.name) or not entry.name.isprintable():
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.name.endswith(SUFFIXES):
                        yield path, _signature(entry.stat(follow_symlinks=False))

    def _consider(self, source: str, signature: Signature | None, is_complete: bool, now: datetime) -> Look:
        file = self.files.get(source)
        if file is not None and file.signature == signature:
            return Look()
        if file is None and signature is None:
            self._glances.pop(source, None)
            return Look()
        if self._is_in_git_flux(source, now):
            return Look(again_after=GIT_RECHECK)
        if signature is None:
            return self._forget(source, now)
        return self._read(source, signature, is_complete, now)

    def _read(self, source: str, signature: Signature, is_complete: bool, now: datetime) -> Look:
        try:
            data = self._volume.read(f"specs/{source}", MAX_BYTES)
        except FileNotFoundError:
            return self._forget(source, now)
        except OSError as error:
            return self._believe(source, _unreadable(signature, error, self._docs_before(source)), now)
        source_hash = hashlib.sha256(data).hexdigest()
        known = self._known_docs(source, source_hash)
        if known is not None:
            file = SpecFile(signature=signature, source_hash=source_hash, docs=known, is_parsed=False)
            return self._believe(source, file, now)
        glance = self._glances.get(source)
        seen = glance is not None and (glance.signature, glance.source_hash) == (signature, source_hash)
        if not is_complete and not (seen and glance is not None and now - glance.at >= SECOND_LOOK):
            if not seen:
                self._glances[source] = _Glance(signature, source_hash, now)
            return Look(again_after=SECOND_LOOK)
        return self._believe(source, self._parsed(source, signature, source_hash, data), now)

    def _known_docs(self, source: str, source_hash: str) -> tuple[Doc, ...] | None:
        before = self.files.get(source)
        if before is not None and before.source_hash == source_hash and not before.is_unreadable:
            return before.docs if not before.errors else None
        known = self._known(source)
        return known.docs if known is not None and known.source_hash == source_hash else None

    def _docs_before(self, source: str) -> tuple[Doc, ...]:
        before = self.files.get(source)
        if before is not None:
            return before.docs
        known = self._known(source)
        return known.docs if known is not None else ()

    def _parsed(self, source: str, signature: Signature, source_hash: str, data: bytes) -> SpecFile:
        try:
            documents, refused = parse_file(data)
        except SpecInvalid as invalid:
            docs = self._docs_before(source)
            return SpecFile(signature=signature, source_hash=source_hash, docs=docs, errors=invalid.errors)
        docs = tuple(Doc(name=d.job.metadata.name, digest=d.digest) for d in documents)
        return SpecFile(signature=signature, source_hash=source_hash, docs=docs, refused=tuple(refused))

    def judge(self, source: str) -> None:
        """Parse a file that was not parsed because its bytes were known."""
        file = self.files.get(source)
        if file is None or file.is_parsed:
            return
        with contextlib.suppress(OSError):  # the next look tells what became of it
            data = self._volume.read(f"specs/{source}", MAX_BYTES)
            if hashlib.sha256(data).hexdigest() == file.source_hash:
                self.files[source] = self._parsed(source, file.signature, file.source_hash, data)

    # -- believing -----------------------------------------------------------------------------------------------

    def _believe(self, source: str, file: SpecFile, now: datetime) -> Look:
        before = self.files.get(source)
        self.files[source] = file
        self._glances.pop(source, None)
        old = {doc.name: doc.digest for doc in before.docs} if before else {}
        new = {doc.name: doc.digest for doc in file.docs}
        for name in new:
            self._holders.setdefault(name, set()).add(source)
        for name in old.keys() - new.keys():
            self._holders[name].discard(source)
        for name in old.keys() | new.keys():
            if old.get(name) != new.get(name):
                self._since[name] = now
        return Look(names=frozenset(old.keys() | new.keys()), files=frozenset({source}))

    def _forget(self, source: str, now: datetime) -> Look:
        file = self.files.pop(source, None)
        self._glances.pop(source, None)
        names = frozenset(doc.name for doc in file.docs) if file else frozenset()
        for name in names:
            self._holders[name].discard(source)
            self._since[name] = now
        return Look(names=names, files=frozenset({source}))

    # -- answering -----------------------------------------------------------------------------------------------

    def wanted(self, name: str, source: str | None, now: datetime) -> Wanted:
        """What the files say of a job whose present file is `source` (None: it has none yet)."""
        owner = self._owner(name, source)
        if owner is not None:
            file = self.files[owner]
            if file.errors or file.is_unreadable:
                return Unsure(message=f"specs/{owner} cannot be accepted now; what was accepted before goes on")
            digest = next(doc.digest for doc in file.docs if doc.name == name)
            since = self._since.setdefault(name, now)
            return Present(
                digest=digest, source=owner, source_hash=file.source_hash, documents=len(file.docs), since=since
            )
        doubt = self._doubt_now(now) or (self._source_doubt(source, now) if source else None)
        if doubt:
            return Unsure(message=doubt)
        since = self._since.setdefault(name, now)
        return Absent(since=max(since, self._trusted_since or since))

    def doubt(self) -> str | None:
        """Why nothing may be deemed deleted now; None when the folder can be trusted."""
        if not self._is_listed:
            return "specs/ cannot be listed"
        return next(iter(self.problems), None)

    def _doubt_now(self, now: datetime) -> str | None:
        """The same, but the sentinel is looked at anew: it may have gone with the files, after the last scan."""
        if self._sentinel_at != now:
            self._sentinel_at = now
            self.problems = self.problems or sentinel_problem(self._volume, self._instance)
        return self.doubt()

    def _source_doubt(self, source: str, now: datetime) -> str | None:
        if source in self._glances:
            return f"specs/{source} is being written"
        file = self.files.get(source)
        if file is not None and (file.errors or file.is_unreadable):
            return f"specs/{source} cannot be accepted now"
        return f"git is at work around specs/{source}" if self._is_in_git_flux(source, now) else None

    def _owner(self, name: str, source: str | None) -> str | None:
        holders = self._holders.get(name) or set()
        for keeper in (source, self._owners.get(name)):
            if keeper in holders and keeper is not None:
                self._owners[name] = keeper
                return keeper
        if not holders:
            return None
        self._owners[name] = min(holders, key=lambda path: (self.files[path].signature[2], path))
        return self._owners[name]

    def holders(self, name: str) -> frozenset[str]:
        """Every file that has a job of that name."""
        return frozenset(self._holders.get(name, ()))

    def duplicates(self, source: str) -> Iterable[str]:
        """Names in that file which another file keeps."""
        return [
            doc.name
            for doc in self.files[source].docs
            if len(self._holders.get(doc.name, ())) > 1 and self._owners.get(doc.name, source) != source
        ]

    def job(self, name: str, present: Present) -> SimulationJob | None:
        """The job itself, from the bytes that were hashed; None when the file has changed since."""
        try:
            data = self._volume.read(f"specs/{present.source}", MAX_BYTES)
            if hashlib.sha256(data).hexdigest() != present.source_hash:
                return None
            return next(d.job for d in parse_file(data)[0] if d.job.metadata.name == name)
        except (OSError, SpecInvalid, StopIteration):
            return None

    # -- doubting ------------------------------------------------------------------------------------------------

    def _is_in_git_flux(self, source: str, now: datetime) -> bool:
        folder = self._volume.specs
        if in_flux(folder / ".git", now):
            return True
        for part in source.split("/")[:-1]:
            folder = folder / part
            if in_flux(folder / ".git", now):
                return True
        return False


def _joined(looks: Iterable[Look]) -> Look:
    """All looks as one; in one pass, for there may be tens of thousands."""
    names: set[str] = set()
    files: set[str] = set()
    waits = []
    for look in looks:
        names |= look.names
        files |= look.files
        if look.again_after is not None:
            waits.append(look.again_after)
    return Look(names=frozenset(names), files=frozenset(files), again_after=min(waits, default=None))


def is_spec_file(source: str) -> bool:
    """Whether a path below `specs/` is one we read."""
    is_named_well = source.endswith(SUFFIXES) and source.isprintable()
    return is_named_well and not any(is_ignored(Path(part)) for part in source.split("/"))


def _signature(found: os.stat_result) -> Signature:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _unreadable(signature: Signature, error: OSError, docs: tuple[Doc, ...]) -> SpecFile:
    reasons = {
        errno.ELOOP: ("Link", "is a symbolic link: put the file itself here"),
        errno.EFBIG: ("TooLarge", f"is larger than {MAX_BYTES} bytes: use configPath"),
        errno.EINVAL: ("NotAFile", "is not a regular file"),
        errno.EACCES: ("Unreadable", "may not be read by the operator"),
    }
    reason, message = reasons.get(error.errno or 0, ("Unreadable", f"cannot be read: {error.strerror}"))
    problem = SpecError(document=1, line=1, column=1, field="", reason=reason, message=message)
    return SpecFile(signature=signature, source_hash="", docs=docs, errors=(problem,), is_unreadable=True)
