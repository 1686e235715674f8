"""A stop from outside, felt wherever the run is."""

import signal
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """Somebody asked the run to end; not an Exception, so that no library swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signal = signal.Signals(signum)

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process that this signal ended."""
        return 128 + self.signal.value


def feel_stops() -> None:
    """From now on the first SIGTERM or SIGINT raises Stopped in the main thread."""
    for signum in SIGNALS:
        signal.signal(signum, _stop)


def ignore_stops() -> None:
    """From now on stops change nothing: the run is ending anyway."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def _stop(signum: int, _frame: FrameType | None) -> NoReturn:
    ignore_stops()
    raise Stopped(signum)
