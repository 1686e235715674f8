"""SpecStore: the files below `specs/`, and which job each of them wants.

    look(path) / scan()  ->  names that may have changed
    wanted(name)         ->  Present, Absent, or Unsure: an unreadable or half-changed folder deletes nothing

Files are looked at without the lock, for that may take as long as the disk likes; what was seen is believed under it,
unless somebody has taken another look meanwhile. Whoever asks for a job that a file wants never waits for the disk.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from opeva_specs.listing import Listing, is_below, is_spec_file, walk
from opeva_specs.model import SimulationJob
from opeva_specs.parse import SpecInvalid, parse_file
from opeva_specs.sentinel import sentinel_problem
from opeva_specs.sighting import SECOND_LOOK, Bare, Before, Eyes, Glance, Hidden, Known, Sighting, SpecFile
from opeva_specs.volume import SharedVolume
from opeva_specs.wanted import Absent, Present, Unsure, Wanted
from opeva_specs.yamltree import MAX_BYTES

__all__ = ["Known", "Look", "SpecFile", "SpecStore", "is_spec_file"]

GIT_RECHECK = timedelta(seconds=0.5)
PATIENCE_SECONDS = 1.0  # with a disk that keeps another one waiting
_TRIES = 3
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found: names to reconcile, files whose verdict changed, and when to look again."""

    names: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    again_after: timedelta | None = None


class SpecStore:
    """The index of spec files. Thread-safe; `lock` may be held for several answers of one moment, never for long."""

    def __init__(self, volume: SharedVolume, instance: str, known: Callable[[str], Known | None]) -> None:
        self._volume, self._instance = volume, instance
        self._eyes = Eyes(volume, known)
        self.lock = threading.RLock()
        self.files: dict[str, SpecFile] = {}
        self.problems: tuple[str, ...] = ()
        self._glances: dict[str, Glance] = {}
        self._owners: dict[str, str] = {}  # name -> the file that keeps it
        self._holders: dict[str, set[str]] = {}  # name -> every file that has it
        self._since: dict[str, datetime] = {}
        self._hidden: dict[str, str] = {}  # files and folders that nobody can look at now, and why
        self._stale: tuple[str, ...] = ()
        self._is_listed = False
        self._trusted_since: datetime | None = None
        self._sentinel_at: datetime | None = None
        self._disk = threading.Lock()  # whose holder asks the disk whether a file is really gone
        self._is_slow = False

    # -- looking -------------------------------------------------------------------------------------------------

    def scan(self, clock: Clock) -> Look:
        """Look at every file; a folder that cannot be listed leaves everything below it as it was."""
        with self.lock:
            before = {**dict.fromkeys(self._glances), **self.files}
        try:
            listing = walk(self._volume.specs, clock())
        except OSError as error:
            with self.lock:
                self.problems = (f"cannot list specs/: {error.strerror}; nothing is deemed deleted",)
                self._is_listed = False
            return Look(again_after=SECOND_LOOK)
        sightings = [self._look_at(source, False, clock()) for source in _changed(before, listing)]
        problems = sentinel_problem(self._volume, self._instance)
        with self.lock:
            self._trust(listing, problems, clock())
            look = _joined(self._take(sighting, clock()) for sighting in sightings)
        return _joined([look, Look(again_after=SECOND_LOOK)]) if listing.is_torn else look

    def look(self, source: str, is_complete: bool, clock: Clock) -> Look:
        """Look at one file; `is_complete` when it was seen to be closed after writing or renamed into place."""
        if not is_spec_file(source):
            return Look()
        for _ in range(_TRIES):
            sighting = self._look_at(source, is_complete, clock())
            with self.lock:
                if sighting.before.is_still(self._before(source)):
                    self._hidden.pop(source, None)
                    return self._take(sighting, clock())
        return Look(again_after=SECOND_LOOK)

    def _look_at(self, source: str, is_complete: bool, now: datetime) -> Sighting:
        with self.lock:
            before = self._before(source)
        return self._eyes.look(source, before, is_complete, now)

    def _before(self, source: str) -> Before:
        return Before(self.files.get(source), self._glances.get(source))

    def judge(self, source: str) -> None:
        """Parse a file that was not parsed because its bytes were known."""
        file = self.files.get(source)
        if file is None or file.is_parsed:
            return
        parsed = self._eyes.parse(source, file)
        with self.lock:
            if parsed is not None and self.files.get(source) is file:
                self.files[source] = parsed

    # -- believing: from here on under the lock, and in memory only ----------------------------------------------

    def _trust(self, listing: Listing, problems: tuple[str, ...], now: datetime) -> None:
        if self.doubt() is not None:
            self._trusted_since = now  # what is missing now may be on its way back
        self._is_listed, self.problems = True, problems
        self._hidden, self._stale = listing.hidden, tuple(listing.stale)

    def _take(self, sighting: Sighting, now: datetime) -> Look:
        source = sighting.source
        if not sighting.before.is_still(self._before(source)):
            return Look(again_after=SECOND_LOOK)  # somebody took another look meanwhile: theirs may be the newer one
        match sighting.seen:
            case SpecFile() as file:
                return self._believe(source, file, now)
            case Glance() as glance:
                self._glances[source] = glance
                return Look(again_after=SECOND_LOOK)
            case Hidden(why):
                self._hidden[source] = why
                return Look()
            case Bare() as bare:
                return self._take_bare(source, bare, now)

    def _take_bare(self, source: str, seen: Bare, now: datetime) -> Look:
        match seen:
            case Bare.GONE:
                return self._forget(source, now)
            case Bare.UNCHANGED:
                return Look()
            case Bare.GIT_AT_WORK:
                return Look(again_after=GIT_RECHECK)
            case Bare.UNSETTLED:
                return Look(again_after=SECOND_LOOK)

    def _believe(self, source: str, file: SpecFile, now: datetime) -> Look:
        before = self.files.get(source)
        self.files[source] = file
        self._glances.pop(source, None)
        old = {doc.name: doc.digest for doc in before.docs} if before else {}
        new = {doc.name: doc.digest for doc in file.docs}
        for name in new:
            self._holders.setdefault(name, set()).add(source)
        for name in old.keys() - new.keys():
            self._let_go(name, source)
        for name in old.keys() | new.keys():
            if old.get(name) != new.get(name):
                self._since[name] = now
        return Look(names=frozenset(old.keys() | new.keys()), files=frozenset({source}))

    def _forget(self, source: str, now: datetime) -> Look:
        file = self.files.pop(source, None)
        self._glances.pop(source, None)
        if file is None:
            return Look()
        names = frozenset(doc.name for doc in file.docs)
        for name in names:
            self._let_go(name, source)
            self._since[name] = now
        return Look(names=names, files=frozenset({source}))

    def _let_go(self, name: str, source: str) -> None:
        self._holders[name].discard(source)
        if not self._holders[name]:
            del self._holders[name]

    def forget_names(self, is_known: Callable[[str], bool]) -> None:
        """Forget when names came and went that are in no file, and that nobody knows any more."""
        with self.lock:
            for name in (self._since.keys() | self._owners.keys()) - self._holders.keys():
                if not is_known(name):
                    self._since.pop(name, None)
                    self._owners.pop(name, None)

    # -- answering -----------------------------------------------------------------------------------------------

    def wanted(self, name: str, source: str | None, now: datetime) -> Wanted:
        """What the files say of a job whose present file is `source` (None: it has none yet)."""
        return self.answer(name, source, now, self.doubt_about(name, source, now))

    def doubt_about(self, name: str, source: str | None, now: datetime) -> str | None:
        """Why one could not believe now that no file wants the job: the disk is asked, if none seems to."""
        with self.lock:
            if self._owner(name, source) is not None:
                return "its file is gone only since a moment"
            if (doubt := self.doubt()) is not None:
                return doubt
        if not self._disk.acquire(timeout=0 if self._is_slow else PATIENCE_SECONDS):
            self._is_slow = True
            return "specs/ does not answer"
        try:
            self._look_at_sentinel(now)
            at_work = source is not None and self._eyes.is_in_git_flux(source, now)
        finally:
            self._is_slow = False
            self._disk.release()
        return f"git is at work around specs/{source}" if at_work else None

    def _look_at_sentinel(self, now: datetime) -> None:
        """It may have gone with the files, after the last scan."""
        if self._sentinel_at == now:
            return
        problems = sentinel_problem(self._volume, self._instance)
        with self.lock:
            self._sentinel_at = now
            self.problems = self.problems or problems

    def answer(self, name: str, source: str | None, now: datetime, doubt: str | None) -> Wanted:
        """The same as `wanted`, from memory; `doubt` is what `doubt_about` told a moment ago."""
        with self.lock:
            owner = self._owner(name, source)
            if owner is not None:
                return self._present(name, owner, now)
            doubt = self.doubt() or (self._source_doubt(name, source) if source else None) or doubt
            if doubt:
                return Unsure(message=doubt)
            since = self._since.setdefault(name, now)
            return Absent(since=max(since, self._trusted_since or since))

    def _present(self, name: str, owner: str, now: datetime) -> Present | Unsure:
        file = self.files[owner]
        if file.errors or file.is_unreadable:
            return Unsure(message=f"specs/{owner} cannot be accepted now; what was accepted before goes on")
        digest = next(doc.digest for doc in file.docs if doc.name == name)
        since = self._since.setdefault(name, now)
        return Present(digest=digest, source=owner, source_hash=file.source_hash, documents=len(file.docs), since=since)

    def doubt(self) -> str | None:
        """Why nothing may be deemed deleted now; None when the folder can be trusted."""
        if not self._is_listed:
            return "specs/ cannot be listed"
        return next(iter(self.problems), None)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What people should know of the folder though the rest of it can be trusted."""
        with self.lock:
            hidden = [
                f"cannot look at specs/{path}: {why}; what lies there goes on" for path, why in self._hidden.items()
            ]
        stale = [f"specs/{path} is older than 10 minutes and ignored: remove it if no git runs" for path in self._stale]
        return (*hidden, *stale)

    def _source_doubt(self, name: str, source: str) -> str | None:
        if self._hidden and is_below(source, self._hidden):
            self._since.pop(name, None)  # it is absent only since somebody can tell
            return f"specs/{source} cannot be looked at now"
        if source in self._glances:
            return f"specs/{source} is being written"
        file = self.files.get(source)
        is_bad = file is not None and (file.errors or file.is_unreadable)
        return f"specs/{source} cannot be accepted now" if is_bad else None

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
        with self.lock:
            return frozenset(self._holders.get(name, ()))

    def duplicates(self, source: str) -> Iterable[str]:
        """Names in that file which another file keeps."""
        with self.lock:
            file = self.files.get(source)
            names = [doc.name for doc in file.docs if len(self._holders.get(doc.name, ())) > 1] if file else []
            return [name for name in names if self._owners.get(name, source) != source]

    def job(self, name: str, present: Present) -> SimulationJob | None:
        """The job itself, from the bytes that were hashed; None when the file has changed since."""
        try:
            data = self._volume.read(f"specs/{present.source}", MAX_BYTES)
            if hashlib.sha256(data).hexdigest() != present.source_hash:
                return None
            return next(d.job for d in parse_file(data)[0] if d.job.metadata.name == name)
        except (OSError, SpecInvalid, StopIteration):
            return None


def _changed(before: Mapping[str, SpecFile | None], listing: Listing) -> list[str]:
    """Files to look at: those that are new or not as they were, and those that the walk did not meet any more."""
    known = {source: file.signature if file else None for source, file in before.items()}
    met = [source for source, signature in listing.files.items() if known.get(source) != signature]
    missing = (source for source in before if source not in listing.files)
    return met + [source for source in missing if not is_below(source, listing.hidden)]


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
