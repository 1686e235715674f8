"""A watch under test: what it told, what is waited for, and how the kernel is made to forget it."""

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opeva_specs import watch
from opeva_specs.watch import DirectoryWatch

LIBC = ctypes.CDLL(None)


class Heard:
    """All hints of one watch; calls whatever a test puts into `on_hint` first."""

    def __init__(self) -> None:
        self.hints: list[tuple[Path | None, bool]] = []
        self.on_hint: Callable[[Path | None], None] = lambda path: None

    def hint(self, path: Path | None, is_complete: bool) -> None:
        self.hints.append((path, is_complete))
        self.on_hint(path)

    def complete(self, path: Path) -> bool:
        return (path, True) in self.hints

    def anything(self, path: Path | None) -> bool:
        return any(told == path for told, _ in self.hints)

    def told(self, path: Path) -> bool:
        """Whether a listener who looks below every folder that is hinted has looked at this path."""
        return any(told is None or path == told or told in path.parents for told, _ in self.hints)


def eventually(claim: Callable[[], Any], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"not within {seconds} s: {claim.__name__}"
        time.sleep(0.01)


def consistently(claim: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert claim()
        time.sleep(0.01)


@contextlib.contextmanager
def watching(*folders: Path, **options: Any) -> Iterator[tuple[DirectoryWatch, Heard]]:
    heard = Heard()
    watched = DirectoryWatch(folders, heard.hint, **{"poll_seconds": 0.3, **options})
    watched.start()
    try:
        yield watched, heard
    finally:
        watched.stop()


def hasten(setattr_: Callable[[object, str, float], None]) -> None:
    pace = {
        "HEALTH_SECONDS": 0.05,
        "CANARY_SECONDS": 0.5,
        "CANARY_PATIENCE_SECONDS": 0.5,
        "LONGEST_BACKOFF_SECONDS": 0.2,
    }
    for name, seconds in pace.items():
        setattr_(watch, name, seconds)


def forget_watches() -> None:
    """Take every inotify watch of this process away, as the kernel does when a file system is unmounted lazily."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(link.readlink()) != "anon_inode:inotify":
                continue
            for line in Path(f"/proc/self/fdinfo/{link.name}").read_text().splitlines():
                if line.startswith("inotify wd:"):
                    LIBC.inotify_rm_watch(int(link.name), int(line.split()[1].removeprefix("wd:"), 16))


def still_works(heard: Heard, folder: Path) -> bool:
    """Whether a new file in the folder is told by an event, which alone can say that it is complete."""
    file = folder / f"probe-{time.monotonic_ns()}.yaml"
    file.write_text("x")
    with contextlib.suppress(AssertionError):
        eventually(lambda: heard.complete(file), 0.5)
    return heard.complete(file)
