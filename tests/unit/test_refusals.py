"""What an engine's words on a failed start mean, and how long it is borne with."""

import pytest

from opeva_operator.refusals import Refusals, start_failure
from opeva_operator.testing import FakeClock
from opeva_specs.status import Reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ('invalid mount config for type "bind": bind source path does not exist: /mnt/x', Reason.BAD_MOUNT),
        ('error mounting "/a" to rootfs at "/data": mount /a:/data: not a directory', Reason.BAD_MOUNT),
        ('OCI runtime create failed: exec: "trian": executable file not found in $PATH: unknown', Reason.BAD_COMMAND),
        ("exec /run.sh: exec format error", Reason.BAD_COMMAND),
        ("No command specified", Reason.BAD_COMMAND),
        ('could not select device driver "" with capabilities: [[gpu]]', Reason.START_FAILED),
        ("Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", Reason.START_FAILED),
        ("no space left on device", Reason.START_FAILED),
    ],
)
def test_the_engines_words_name_the_reason(words: str, reason: Reason) -> None:
    assert start_failure(words) is reason


OPENED = FakeClock()()


def test_refusals_are_final_once_they_have_lasted() -> None:
    clock = FakeClock()
    refusals = Refusals(60, clock)
    assert [refusals.is_final("a", OPENED), refusals.is_final("b", OPENED)] == [False, False]
    clock.advance(59)
    assert not refusals.is_final("a", OPENED)
    clock.advance(1)
    assert refusals.is_final("a", OPENED)
    refusals.forget("a")
    assert not refusals.is_final("a", OPENED)
    assert refusals.is_final("b", OPENED)
