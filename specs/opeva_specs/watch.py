"""DirectoryWatch: which paths below some folders may have changed; it heals itself, and says when it is blind.

Events are hints, never truth: whoever listens looks at the file system itself. Four things guard the events, because
each way in which they fail is silent: threads may die, a folder may be replaced by another of the same name, a file
system may tell of nothing, a queue may overflow. So a health thread looks at the threads and folders every second,
touches a canary file whose event must arrive, and compares the folders with what it heard. A change that came without
an event shows that a folder is deaf; from then on files are compared as well.
"""

import contextlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from watchdog import events
from watchdog.observers.inotify import InotifyObserver
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

from opeva_specs.survey import Folder, differs, files_in, identity, is_ignored, remote_type, survey

__all__ = ["DirectoryWatch", "Hint", "is_ignored"]

Hint = Callable[[Path | None, bool], None]
"""Told a path that may have changed (None: look at everything) and whether it is complete: renamed, closed or gone."""

HEALTH_SECONDS = 1.0
CANARY_SECONDS = 60.0
CANARY_PATIENCE_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 60.0
HEARD_FOR_NS = 600 * 10**9

# Reading a file is no change: without this list, every look at 10,000 files would queue 20,000 events.
_EVENTS: list[type[events.FileSystemEvent]] = [
    *(events.FileCreatedEvent, events.FileModifiedEvent, events.FileAttribEvent, events.FileClosedEvent),
    *(events.FileMovedEvent, events.FileDeletedEvent),
    *(events.DirCreatedEvent, events.DirAttribEvent, events.DirMovedEvent, events.DirDeletedEvent),
]
# Those that change the folder around a file, too; the canary's, which it touches in place, prove nothing of the folder.
_ENTRY_EVENTS = (events.EVENT_TYPE_CREATED, events.EVENT_TYPE_MOVED, events.EVENT_TYPE_DELETED)
_INOTIFY_LOG = "watchdog.observers.inotify_c"

logger = logging.getLogger(__name__)


def told_by(event: events.FileSystemEvent) -> list[tuple[str, bool]]:
    """The paths that an event speaks of, new ones first, each with whether it is complete."""
    if event.event_type == events.EVENT_TYPE_MOVED:
        return [(os.fsdecode(path), True) for path in (event.dest_path, event.src_path) if path]
    is_complete = event.event_type in (events.EVENT_TYPE_CLOSED, events.EVENT_TYPE_DELETED)
    return [(os.fsdecode(event.src_path), is_complete)]


def _observe(folders: Iterable[Path], listener: events.FileSystemEventHandler) -> InotifyObserver:
    # A folder filled while its watch is being set is watched twice; watchdog warns of it, and it does no harm.
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
    # Else half of a rename waits half a second for its other half, and holds up all that comes after it.
    InotifyMoveEventGrouper.delay = 0.0
    observer = InotifyObserver(generate_full_events=True)
    try:
        for folder in folders:
            observer.schedule(listener, str(folder), recursive=True, event_filter=_EVENTS)
        observer.start()
    except (OSError, RuntimeError):
        observer.stop()
        raise
    return observer


class _Listener(events.FileSystemEventHandler):
    def __init__(self, hear: Callable[[events.FileSystemEvent], None]) -> None:
        self._hear = hear

    def dispatch(self, event: events.FileSystemEvent) -> None:
        self._hear(event)


class DirectoryWatch:
    """Tells of every path below `folders` that may have changed; `hint` must return at once and may be told too often.

    `hint` is called from threads of the watch. A path that `ignore` (given it relative to its folder) accepts is not
    told. `canary` is a file directly in one of the folders that the watch may write; without one, only real changes
    prove that events arrive.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        hint: Hint,
        *,
        poll_seconds: float = 5.0,
        canary: Path | None = None,
        ignore: Callable[[Path], bool] = is_ignored,
    ) -> None:
        self._folders = tuple(folder.absolute() for folder in folders)
        self._hint = hint
        self._poll_seconds = poll_seconds
        self._canary = canary.absolute() if canary else None
        self._ignore = ignore
        self._listener = _Listener(self._hear)
        self._observer: InotifyObserver | None = None
        self._identities: dict[Path, tuple[int, int] | None] = {}
        self._problems: dict[str, str] = {}
        self._known: dict[str, Folder] = {}
        self._files: dict[str, tuple[int, int, int]] | None = None
        self._heard: dict[str, int] = {}
        self._unheard: dict[str, int] = {}
        self._deaf: dict[str, int] = {}
        self._owes_full_look = self._has_lost_events = self._is_newly_deaf = self._canary_seen = False
        self._canary_asked_at: float | None = None
        self._next_canary = self._next_rebuild = self._next_poll = 0.0
        self._backoff = HEALTH_SECONDS
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="directory-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch: every change after this returns is told. What was there before is not."""
        logging.getLogger(_INOTIFY_LOG).addFilter(self._on_lost_events)
        self._rebuild(time.monotonic())
        self._owes_full_look = False
        self._thread.start()

    def stop(self) -> None:
        """End all threads, within 2 seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2)
        logging.getLogger(_INOTIFY_LOG).removeFilter(self._on_lost_events)

    @property
    def mode(self) -> str:
        """`inotify`, or `poll` while events alone cannot be trusted."""
        return "poll" if self._problems.keys() - {"missing"} else "inotify"

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong now, a sentence each."""
        return tuple(self._problems.values())

    # From here to the next comment: in watchdog's threads. An exception that escapes would end them for good.

    def _hear(self, event: events.FileSystemEvent) -> None:
        now = time.time_ns()
        for path, is_complete in told_by(event):
            if event.is_directory:
                self._heard[path] = now
            if event.event_type in _ENTRY_EVENTS:
                self._heard[path.rpartition("/")[0]] = now
            if self._canary is not None and path == str(self._canary):
                self._canary_seen = True
            self._tell(path, is_complete)

    def _tell(self, path: str | None, is_complete: bool) -> None:
        try:
            if path is None or not self._skips(path):
                self._hint(None if path is None else Path(path), is_complete)
        except Exception:  # whatever the listener did wrong: the watch goes on, and tells it to look again
            if not self._owes_full_look:
                logger.exception("cannot tell of a change at %r", path)
            self._owes_full_look = True

    def _skips(self, path: str) -> bool:
        if self._canary is not None and path == str(self._canary):
            return True
        for folder in self._folders:
            inner = path.removeprefix(f"{folder}/")
            if inner != path:
                return self._ignore(Path(inner))
        return False

    def _on_lost_events(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:  # that its queue was full, watchdog tells to its log only
            self._has_lost_events = True
        return True

    # From here on: in the health thread (and, before it runs, in `start`).

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._tick(time.monotonic())
            except Exception:  # the last line of defence: there is nobody else to notice
                logger.exception("cannot check the watch of %s", self._names())
            self._stopping.wait(HEALTH_SECONDS)
        self._tear_down()
        if self._canary is not None:
            with contextlib.suppress(OSError):
                self._canary.unlink()

    def _tick(self, now: float) -> None:
        if not self._is_sound() and "dead" not in self._problems:
            self._set("dead", f"cannot hear of changes in {self._names()}: the watch stopped and is being restarted")
        is_ill = self._is_newly_deaf or bool(self._problems.keys() & {"dead", "silent"})
        if is_ill and now >= self._next_rebuild:
            self._rebuild(now)
        if self._has_lost_events:
            self._look_anew(now)
        if now >= self._next_poll or (self.mode == "poll" and self._files is None):
            self._next_poll = now + self._poll_seconds
            self._poll()
        if self._owes_full_look:
            self._owes_full_look = False
            self._tell(None, False)
        self._check_canary(now)

    def _is_sound(self) -> bool:
        if self._observer is None:
            return False
        reader = getattr(self._observer, "_inotify_fd", self._observer)  # no public way to this thread
        threads = (self._observer, reader, *self._observer.emitters)
        is_same = all(identity(folder) == was for folder, was in self._identities.items())
        return is_same and all(thread.is_alive() for thread in threads)

    def _rebuild(self, now: float) -> None:
        is_calm = now >= self._next_rebuild + LONGEST_BACKOFF_SECONDS
        self._backoff = HEALTH_SECONDS if is_calm else min(2 * self._backoff, LONGEST_BACKOFF_SECONDS)
        self._next_rebuild = now + self._backoff
        self._tear_down()
        self._identities = {folder: identity(folder) for folder in self._folders}
        missing = ", ".join(str(folder) for folder, found in self._identities.items() if found is None)
        self._set("missing", missing and f"cannot watch {missing}: there is no such folder; create it")
        self._check_remote()
        try:
            self._observer = _observe(self._present(), self._listener)
        except (OSError, RuntimeError) as error:
            self._set("dead", f"cannot watch {self._names()}: {error}; see sysctl fs.inotify and ulimit -n")
            return
        self._set("dead", None)
        self._canary_asked_at, self._next_canary = None, now
        self._look_anew(now)

    def _look_anew(self, now: float) -> None:
        self._has_lost_events = self._is_newly_deaf = False
        self._known = survey(map(str, self._present()), {}, self._skips)
        self._files, self._unheard, self._next_poll = None, {}, now + self._poll_seconds
        self._owes_full_look = True

    def _tear_down(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            with contextlib.suppress(RuntimeError):  # it never ran
                observer.join(1)

    def _check_remote(self) -> None:
        mountinfo = Path("/proc/self/mountinfo").read_text(errors="replace")
        devices = {folder: found[0] for folder, found in self._identities.items() if found}
        remote = {str(folder): remote_type(mountinfo, device) for folder, device in devices.items()}
        told = ", ".join(f"{folder} ({kind})" for folder, kind in remote.items() if kind)
        self._set("remote", told and f"polling {told}: such a file system tells nothing of changes made elsewhere")

    def _check_canary(self, now: float) -> None:
        if self._canary is None or identity(self._canary.parent) is None:
            return
        if self._canary_seen:
            self._canary_seen, self._canary_asked_at = False, None
            self._set("silent", None)
        elif self._canary_asked_at is not None and now - self._canary_asked_at > CANARY_PATIENCE_SECONDS:
            self._canary_asked_at = None
            self._set("silent", f"polling {self._names()}: a change of {self._canary.name} came without an event")
        if self._canary_asked_at is None and now >= self._next_canary:
            self._next_canary, self._canary_asked_at = now + CANARY_SECONDS, now
            self._touch(self._canary)

    def _touch(self, canary: Path) -> None:
        try:
            fd = os.open(canary, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
            try:
                os.utime(fd)
            finally:
                os.close(fd)
            self._set("unproven", None)
        except OSError as error:
            self._canary_asked_at = None
            self._set("unproven", f"polling {self._names()}: cannot write {canary}, which proves the watch: {error}")

    def _poll(self) -> None:
        before, is_polling = self._known, self.mode == "poll"
        self._known = survey(map(str, self._present()), {} if is_polling else before, self._skips)
        changed = {path: now.changed_at_ns for path, now in self._known.items() if differs(before.get(path), now)}
        unheard = {path: at for path, at in changed.items() if self._heard.get(path, 0) < at}
        self._judge({path: at for path, at in unheard.items() if path in before})
        if not is_polling:
            for path in unheard:
                self._tell(path, False)
        self._compare_files()

    def _judge(self, unheard: dict[str, int]) -> None:
        # A whole interval later, because events may be late.
        suspects = self._deaf | self._unheard
        self._deaf = {
            path: at for path, at in suspects.items() if path in self._known and self._heard.get(path, 0) < at
        }
        self._is_newly_deaf |= any(path in self._deaf for path in self._unheard)
        self._unheard = {} if self._problems.keys() & {"dead", "remote"} else unheard
        example = min(self._deaf, default=None)
        self._set("deaf", example and f"polling {self._names()}: a change in {example} came without an event")
        oldest = time.time_ns() - HEARD_FOR_NS
        for path, at in list(self._heard.items()):
            if at < oldest:
                del self._heard[path]

    def _compare_files(self) -> None:
        if self.mode == "inotify":
            self._files = None
            return
        before, self._files = self._files, files_in(self._known)
        if before is None:
            self._owes_full_look = True
            return
        for path in before.keys() - self._files.keys():
            self._tell(path, True)
        for path, now in self._files.items():
            if before.get(path) != now:
                self._tell(path, False)

    def _present(self) -> list[Path]:
        return [folder for folder, found in self._identities.items() if found is not None]

    def _names(self) -> str:
        return ", ".join(str(folder) for folder in self._folders)

    def _set(self, kind: str, problem: str | None) -> None:
        known = self._problems.get(kind, "")
        if problem and problem != known:
            self._problems = {**self._problems, kind: problem}
            logger.warning("%s", problem)
        elif known and not problem:
            self._problems = {other: text for other, text in self._problems.items() if other != kind}
            logger.info("no longer: %s", known)
