"""Runs services as child processes in the foreground, starts again what dies, and ends all of them together."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opeva_cli.signals import Signals

GRACE_SECONDS = 10.0
STEADY_SECONDS = 30.0
FIRST_DELAY = 1.0
LAST_DELAY = 30.0

_ENDING = {signal.SIGTERM, signal.SIGINT}
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program to keep running; with `user`, under that uid and gid and no further groups."""

    name: str
    command: tuple[str, ...]
    user: int | None = None


def delay(restarts: int) -> float:
    """Seconds to wait before the next start: 1, 2, 4 … 30."""
    return min(FIRST_DELAY * 2.0 ** min(restarts, 10), LAST_DELAY)


def supervise(services: Sequence[Service], environ: Mapping[str, str], grace: float = GRACE_SECONDS) -> int:
    """Keep the services running until SIGTERM or SIGINT; 0 when all of them ended in time, 1 when one was killed."""
    with Signals() as signals:
        children = [_Child(service, environ) for service in services]
        try:
            while True:
                pauses = [child.keep(time.monotonic()) for child in children]
                if signals.wait(min((pause for pause in pauses if pause is not None), default=None)) & _ENDING:
                    return _end(children, signals, time.monotonic() + grace)
        finally:
            for child in children:
                child.kill()


def _end(children: Sequence["_Child"], signals: Signals, deadline: float) -> int:
    """Ask all of them to end; a second signal, or the deadline, kills what is left."""
    for child in children:
        child.ask_to_end()
    while any(child.is_alive for child in children):
        left = deadline - time.monotonic()
        if left <= 0 or signals.wait(left) & _ENDING:
            break
    slow = [child for child in children if child.is_alive]
    for child in slow:
        _say(f"{child.name} did not end in time and is killed")
        child.kill()
    return 1 if slow else 0


class _Child:
    """One service: its process, if it has one, and when the next may start."""

    def __init__(self, service: Service, environ: Mapping[str, str]) -> None:
        self.name = service.name
        self._service = service
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = 0
        self._started_at = 0.0
        self._due_at = 0.0

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep(self, now: float) -> float | None:
        """Start the process when it is due; seconds until it is, None while it runs."""
        if self._process is not None and self._process.poll() is not None:
            self._note_end(_how(self._process.returncode), now)
        if self._process is None and now >= self._due_at:
            self._start(now)
        return None if self._process is not None else max(0.0, self._due_at - now)

    def ask_to_end(self) -> None:
        if self.is_alive and self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self, now: float) -> None:
        user = self._service.user
        self._started_at = now
        try:
            self._process = subprocess.Popen(
                self._service.command,
                env=self._environ,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                process_group=0,  # Ctrl-C reaches us alone, and we pass it on once
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            self._note_end(f"cannot be started ({error.strerror})", now)

    def _note_end(self, how: str, now: float) -> None:
        self._process = None
        self._restarts = 0 if now - self._started_at >= STEADY_SECONDS else self._restarts
        pause = delay(self._restarts)
        self._restarts += 1
        self._due_at = now + pause
        _say(f"{self.name} {how}; starting it again in {pause:g} s")


def _end_with_parent() -> None:
    """Runs in the child: whoever kills us outright leaves no service behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"


def _say(sentence: str) -> None:
    print(f"opeva: {sentence}", file=sys.stderr, flush=True)
