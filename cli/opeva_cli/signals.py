"""Signals as something to wait for, with a limit, instead of something that interrupts."""

import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Any, Self

_WANTED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Signals:
    """While open, SIGTERM, SIGINT and SIGCHLD do nothing but end a `wait`; the handlers of before come back after."""

    def __enter__(self) -> Self:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        self._before: dict[signal.Signals, Any] = {number: signal.signal(number, _ignore) for number in _WANTED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._read.close()
        self._write.close()

    def wait(self, seconds: float | None) -> set[signal.Signals]:
        """The signals that came, as soon as one did; empty when none did for that long."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        return {signal.Signals(number) for number in self._read.recv(4096)} if ready else set()


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler must be there for the wake-up to work; a child does not inherit it over exec."""
