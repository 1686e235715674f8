"""Sighting: one look at one spec file. It may take as long as the disk does, and changes nothing that is believed.

A file is read as a whole, hashed, and parsed only if its hash is new. One that was not seen to be closed or renamed
into place is believed after two equal looks a second apart.
"""

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from opeva_specs.gitflux import in_flux
from opeva_specs.listing import Signature, signature_of
from opeva_specs.parse import SpecError, SpecInvalid, parse_file
from opeva_specs.volume import SharedVolume
from opeva_specs.wanted import Doc
from opeva_specs.yamltree import MAX_BYTES

SECOND_LOOK = timedelta(seconds=1)


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
class Glance:
    """A look at a file that is not believed yet."""

    signature: Signature
    source_hash: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Hidden:
    """Nobody can tell now whether the file is there."""

    why: str


class Bare(Enum):
    """What else there is to see."""

    GONE = "gone"
    UNCHANGED = "unchanged"
    GIT_AT_WORK = "git at work"
    UNSETTLED = "unsettled"  # as at the glance before, which is too short ago


Seen = SpecFile | Glance | Hidden | Bare


@dataclass(frozen=True, slots=True)
class Before:
    """What was believed of a file when the look at it began."""

    file: SpecFile | None = None
    glance: Glance | None = None

    def is_still(self, other: "Before") -> bool:
        """Whether nobody has taken another look meanwhile."""
        return self.file is other.file and self.glance is other.glance


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look at one path saw; nothing is believed yet."""

    source: str
    before: Before
    seen: Seen


@dataclass(frozen=True, slots=True)
class Eyes:
    """Looks at files below `specs/`; `known` tells what earlier runs of the operator know of one."""

    volume: SharedVolume
    known: Callable[[str], Known | None]

    def look(self, source: str, before: Before, is_complete: bool, now: datetime) -> Sighting:
        """One look; `is_complete` when the file was seen to be closed after writing or renamed into place."""
        return Sighting(source, before, self._see(source, before, is_complete, now))

    def _see(self, source: str, before: Before, is_complete: bool, now: datetime) -> Seen:
        try:
            signature = signature_of(os.lstat(self.volume.specs / source))
        except (FileNotFoundError, NotADirectoryError):
            signature = None
        except OSError as error:
            return Hidden(error.strerror or str(error))
        if before.file is not None and before.file.signature == signature:
            return Bare.UNCHANGED
        if signature is None and before.file is None:
            return Bare.GONE
        if self.is_in_git_flux(source, now):
            return Bare.GIT_AT_WORK
        if signature is None:
            return Bare.GONE
        return self._read(source, signature, before, is_complete, now)

    def _read(self, source: str, signature: Signature, before: Before, is_complete: bool, now: datetime) -> Seen:
        try:
            data = self.volume.read(f"specs/{source}", MAX_BYTES)
        except FileNotFoundError:
            return Bare.GONE
        except OSError as error:
            return _unreadable(signature, error, self._docs_before(source, before))
        source_hash = hashlib.sha256(data).hexdigest()
        docs = self._known_docs(source, before, source_hash)
        if docs is not None:
            return SpecFile(signature=signature, source_hash=source_hash, docs=docs, is_parsed=False)
        glance = Glance(signature, source_hash, now)
        if is_complete or (before.glance is not None and _is_settled(before.glance, glance)):
            return self._parsed(source, signature, source_hash, data, before)
        is_same = before.glance is not None and replace(before.glance, at=now) == glance
        return Bare.UNSETTLED if is_same else glance

    def parse(self, source: str, file: SpecFile) -> SpecFile | None:
        """The file, parsed after all, as long as its bytes are the same; None when they are not, or cannot be read."""
        try:
            data = self.volume.read(f"specs/{source}", MAX_BYTES)
        except OSError:  # the next look tells what became of it
            return None
        if hashlib.sha256(data).hexdigest() != file.source_hash:
            return None
        return self._parsed(source, file.signature, file.source_hash, data, Before(file))

    def is_in_git_flux(self, source: str, now: datetime) -> bool:
        """Whether git is at work in a folder around the file."""
        folder = self.volume.specs
        if in_flux(folder / ".git", now):
            return True
        for part in source.split("/")[:-1]:
            folder = folder / part
            if in_flux(folder / ".git", now):
                return True
        return False

    def _known_docs(self, source: str, before: Before, source_hash: str) -> tuple[Doc, ...] | None:
        file = before.file
        if file is not None and file.source_hash == source_hash and not file.is_unreadable:
            return file.docs if not file.errors else None
        known = self.known(source)
        return known.docs if known is not None and known.source_hash == source_hash else None

    def _docs_before(self, source: str, before: Before) -> tuple[Doc, ...]:
        if before.file is not None:
            return before.file.docs
        known = self.known(source)
        return known.docs if known is not None else ()

    def _parsed(self, source: str, signature: Signature, source_hash: str, data: bytes, before: Before) -> SpecFile:
        try:
            documents, refused = parse_file(data)
        except SpecInvalid as invalid:
            docs = self._docs_before(source, before)
            return SpecFile(signature=signature, source_hash=source_hash, docs=docs, errors=invalid.errors)
        docs = tuple(Doc(name=d.job.metadata.name, digest=d.digest) for d in documents)
        return SpecFile(signature=signature, source_hash=source_hash, docs=docs, refused=tuple(refused))


def _is_settled(before: Glance, now: Glance) -> bool:
    is_same = (before.signature, before.source_hash) == (now.signature, now.source_hash)
    return is_same and now.at - before.at >= SECOND_LOOK


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
