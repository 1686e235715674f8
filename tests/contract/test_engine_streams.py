"""What every engine promises of logs and events, on the fake and on a real Docker engine."""

import threading
import time
from typing import Any

from tests.contract.machines import Bench

from opeva_operator.engine import EngineEvent
from opeva_operator.testing import FakeRun

LONG = b"x" * 100_000 + b"\n"


# --- logs -----------------------------------------------------------------------------------------------------


def _noisy(bench: Bench) -> str:
    script = r"echo one; head -c 100000 /dev/zero | tr '\0' x; echo; printf '\377\n'; printf tail"
    return bench.start("noisy", script, FakeRun(run_for=0, output=b"one\n" + LONG + b"\xff\ntail"))


def test_a_log_is_complete_with_long_lines_and_bad_text(bench: Bench) -> None:
    container_id = _noisy(bench)
    bench.ended("noisy")
    entries = list(bench.engine.logs(container_id, None, follow=False))
    assert b"".join(entry.data for entry in entries) == b"one\n" + LONG + "\N{REPLACEMENT CHARACTER}\ntail".encode()
    assert all(len(entry.at) == len("2026-01-31T09:00:00.123456789Z") for entry in entries)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)


def test_stdout_and_stderr_are_both_in_the_log(bench: Bench) -> None:
    container_id = bench.start("one", "echo out; echo err >&2", FakeRun(run_for=0, output=b"out\nerr\n"))
    bench.ended("one")
    assert {entry.data for entry in bench.engine.logs(container_id, None, follow=False)} == {b"out\n", b"err\n"}


def test_following_ends_with_the_container_and_misses_nothing(bench: Bench) -> None:
    container_id = bench.start("one", "echo a; sleep 0.5; echo b", FakeRun(run_for=0.5, output=b"a\nb\n"))
    assert [entry.data for entry in bench.engine.logs(container_id, None, follow=True)] == [b"a\n", b"b\n"]
    assert bench.ended("one").exit_code == 0


def test_a_log_resumes_at_an_entry(bench: Bench) -> None:
    container_id = _noisy(bench)
    bench.ended("noisy")
    entries = list(bench.engine.logs(container_id, None, follow=False))
    for entry in entries:
        rest = list(bench.engine.logs(container_id, entry.at, follow=True))
        assert rest == [later for later in entries if later.at >= entry.at]


def test_a_container_that_never_ran_has_an_empty_log(bench: Bench) -> None:
    assert list(bench.engine.logs(bench.create("one"), None, follow=True)) == []


def test_removing_a_container_ends_its_log(bench: Bench) -> None:
    container_id = bench.sleeper("one")
    reader = _Reader(bench.engine.logs(container_id, None, follow=True))
    bench.engine.remove(container_id)
    assert reader.rest() == []


def test_closing_a_log_ends_who_reads_it(bench: Bench) -> None:
    container_id = bench.start("one", "echo a; sleep 60", FakeRun(output=b"a\n"))
    log = bench.engine.logs(container_id, None, follow=True)
    reader = _Reader(log)
    bench.eventually(lambda: len(reader.seen) == 1)
    _close_at_once(log)
    assert [entry.data for entry in reader.rest()] == [b"a\n"]
    _close_at_once(log)


# --- events ---------------------------------------------------------------------------------------------------


def test_events_name_the_job_and_are_of_this_instance_only(bench: Bench) -> None:
    events, others = bench.engine.events(), bench.machine.beside("other").events()
    reader, other_reader = _Reader(events), _Reader(others)
    bench.engine.remove(bench.start("one"))
    bench.eventually(lambda: EngineEvent(job="one", action="destroy") in reader.seen)
    _close_at_once(events)
    _close_at_once(others)
    seen = reader.rest()
    assert {event.job for event in seen} == {"one"}
    assert [event.action for event in seen] == ["create", "start", "die", "destroy"]
    assert other_reader.rest() == []


def test_events_that_nobody_reads_can_be_closed(bench: Bench) -> None:
    events = bench.engine.events()
    events.close()
    assert list(events) == []


def _close_at_once(stream: Any) -> None:
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 5


class _Reader:
    """Reads a stream in a thread of its own."""

    def __init__(self, stream: Any) -> None:
        self.seen: list[Any] = []
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: Any) -> None:
        for one in stream:
            self.seen.append(one)

    def rest(self) -> list[Any]:
        """All that was read, once the stream has ended."""
        self._thread.join(10)
        assert not self._thread.is_alive(), "the stream has not ended"
        return self.seen
