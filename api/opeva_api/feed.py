"""Feed: hints of changed files in, an index that is up to date out; whoever waits for a job to change is woken.

Hints come from a thread of their own and only name a job to look at. A full look now and then is what correctness
rests on.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from opeva_api.heart import Heart
from opeva_api.index import Index
from opeva_specs.model import is_job_id
from opeva_specs.volume import SharedVolume
from opeva_specs.watch import DirectoryWatch

logger = logging.getLogger(__name__)

PULSE_SECONDS = 1.0
RESCAN_SECONDS = 60.0
_WATCHED = ("status", "control", "rejected", "specs/api")


class Feed:
    """Keeps one index and one heart up to date while it runs."""

    def __init__(self, volume: SharedVolume, index: Index, heart: Heart, poll_seconds: float) -> None:
        self._volume, self._index, self._heart = volume, index, heart
        self._poll_seconds = poll_seconds
        self._names: set[str] = set()
        self._is_all_due = False
        self._wake = asyncio.Event()
        self._turn = asyncio.Event()
        self._watch: DirectoryWatch | None = None

    @property
    def mode(self) -> str:
        """How changes are noticed."""
        return "starting" if self._watch is None else str(self._watch.mode)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The index is complete when this begins, and is kept so until it ends."""
        await to_thread.run_sync(self._heart.listen)
        loop = asyncio.get_running_loop()

        def hint(path: Path | None, _is_whole: bool) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed while the watch still stops
                loop.call_soon_threadsafe(self._note, path)

        folders = [self._volume.root / folder for folder in _WATCHED]
        watch = DirectoryWatch(folders, hint, poll_seconds=self._poll_seconds)
        await to_thread.run_sync(watch.start)
        self._watch = watch
        await _survived(self._index.rescan)  # after the watch has begun, so nothing falls between
        tasks = [asyncio.create_task(self._serve()), asyncio.create_task(self._pulse())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await to_thread.run_sync(watch.stop)

    async def next_turn(self, seconds: float) -> None:
        """Wait until something changed, at most so many seconds."""
        with anyio.move_on_after(seconds):
            await self._turn.wait()

    def _note(self, path: Path | None) -> None:
        name = _job_of(path, self._volume.rejected)
        if name is None:
            self._is_all_due = True
        else:
            self._names.add(name)
        self._wake.set()

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            names, self._names = self._names, set()
            is_all_due, self._is_all_due = self._is_all_due, False
            if is_all_due:
                await _survived(self._index.rescan)
            await _survived(self._index.refresh, names)
            self._tell()

    async def _pulse(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            beats += 1
            await _survived(self._listen)
            if beats % (RESCAN_SECONDS // PULSE_SECONDS) == 0:
                self._note(None)

    def _listen(self) -> None:
        self._heart.listen()
        self._index.refresh(self._index.live())  # what a job adds to its job_info is not watched

    def _tell(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()


async def _survived(look: Callable[..., None], *args: Any) -> None:
    """Look at files off the event loop; whatever goes wrong, what was known stays and the feed goes on."""
    try:
        await to_thread.run_sync(look, *args)
    except OSError as error:
        logger.warning("cannot look at the jobs: %s; what was known stays", error)
    except Exception:
        logger.exception("cannot look at the jobs; what was known stays")


def _job_of(path: Path | None, rejected: Path) -> str | None:
    """The job that a changed file belongs to; None when that cannot be told and all must be looked at."""
    if path is None or path.is_relative_to(rejected) or not is_job_id(path.stem):
        return None
    return path.stem
