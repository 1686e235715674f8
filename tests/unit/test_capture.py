"""A job's output in the file: all of it, once, whatever the job, the engine or a crash does to it."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opeva_operator import capture as module
from opeva_operator.capture import Capture, last_lines
from opeva_operator.engine import ContainerGone, EngineUnreachable, LogEntry
from opeva_specs.volume import SharedVolume


class Stream:
    """Entries of a log, from `since` on; it may break after some of them."""

    def __init__(self, entries: Iterable[LogEntry], breaks_after: int | None) -> None:
        self._entries, self._breaks_after = list(entries), breaks_after

    def __iter__(self) -> Iterator[LogEntry]:
        yield from self._entries[: self._breaks_after]
        if self._breaks_after is not None:
            raise EngineUnreachable("the stream broke")

    def close(self) -> None:
        pass


class Tape:
    """An engine that has nothing but logs."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.breaks_after: int | None = None
        self.asked: list[str | None] = []
        self.is_gone = False

    def logs(self, container_id: str, since: str | None, *, follow: bool) -> Stream:
        if self.is_gone:
            raise ContainerGone(container_id)
        self.asked.append(since)
        return Stream([e for e in self.entries if since is None or e.at >= since], self.breaks_after)


def entry(at: int, data: str) -> LogEntry:
    return LogEntry(at=f"2026-01-01T00:00:00.{at:09d}Z", data=data.encode())


@pytest.fixture
def volume(tmp_path: Path) -> SharedVolume:
    volume = SharedVolume(tmp_path / "data")
    volume.make_folders()
    return volume


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def file(volume: SharedVolume) -> Path:
    return volume.jobs / "a" / "logs" / "container.log"


def captured(tape: Any, volume: SharedVolume) -> str:
    """What a fresh operator makes of it."""
    return Capture(tape, volume).complete("a", "c1")


def test_everything_is_written_once_and_the_last_lines_are_the_evidence(
    tape: Tape, volume: SharedVolume, file: Path
) -> None:
    tape.entries = [entry(n, f"line {n}\n") for n in range(50)]
    assert captured(tape, volume) == tuple(f"line {n}" for n in range(45, 50))
    assert file.read_text() == "".join(f"line {n}\n" for n in range(50))
    assert not (volume.root / "state" / "jobs" / "a" / "capture.json").exists()


@pytest.mark.parametrize("checkpoint_bytes", [1, 20, 10**6], ids=["every entry", "some", "none"])
@pytest.mark.parametrize("breaks", [0, 1, 7, 29])
def test_after_a_break_the_rest_follows_without_loss_or_repetition(
    tape: Tape, volume: SharedVolume, file: Path, breaks: int, checkpoint_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_BYTES", checkpoint_bytes)
    tape.entries = [entry(n // 3, f"line {n}\n") for n in range(30)]  # three of each time
    for after in (breaks, breaks + 1, breaks):
        tape.breaks_after = after
        with pytest.raises(EngineUnreachable):
            captured(tape, volume)
    tape.breaks_after = None
    captured(tape, volume)
    assert file.read_text() == "".join(f"line {n}\n" for n in range(30))


def test_a_checkpoint_saves_asking_for_everything_again(
    tape: Tape, volume: SharedVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_BYTES", 10)
    tape.entries = [entry(n, f"line {n}\n") for n in range(9)]
    tape.breaks_after = 8
    with pytest.raises(EngineUnreachable):
        captured(tape, volume)
    tape.breaks_after = None
    captured(tape, volume)
    assert tape.asked[0] is None
    assert tape.asked[1] is not None


@pytest.mark.parametrize("kept", range(0, 24, 5))
def test_a_crash_in_the_middle_of_a_line_is_completed(tape: Tape, volume: SharedVolume, file: Path, kept: int) -> None:
    tape.entries = [entry(1, "first line\n"), entry(2, "second line\n")]
    file.parent.mkdir(parents=True)
    file.write_text("first line\nsecond line\n"[:kept])
    captured(tape, volume)
    assert file.read_text() == "first line\nsecond line\n"


def test_equal_lines_at_different_times_are_all_kept(tape: Tape, volume: SharedVolume, file: Path) -> None:
    tape.entries = [entry(n, "again\n") for n in range(5)]
    captured(tape, volume)
    assert file.read_text() == "again\n" * 5


def test_what_the_engine_repeats_when_it_rotates_its_log_is_written_once(
    tape: Tape, volume: SharedVolume, file: Path
) -> None:
    lines = [entry(n, f"line {n}\n") for n in range(20)]
    tape.entries = [*lines[:12], *lines[5:]]
    captured(tape, volume)
    assert file.read_text() == "".join(f"line {n}\n" for n in range(20))


def test_stamps_out_of_order_lose_nothing(tape: Tape, volume: SharedVolume, file: Path) -> None:
    tape.entries = [entry(5, "stdout\n"), entry(3, "stderr\n"), entry(9, "end\n")]
    captured(tape, volume)
    assert file.read_text() == "stdout\nstderr\nend\n"


def test_a_job_that_cuts_its_own_log_does_not_stop_the_rest(
    tape: Tape, volume: SharedVolume, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_BYTES", 1)
    tape.entries = [entry(n, f"line {n}\n") for n in range(6)]
    tape.breaks_after = 4
    with pytest.raises(EngineUnreachable):
        captured(tape, volume)
    os.truncate(file, 3)
    tape.breaks_after = None
    captured(tape, volume)
    assert file.read_text().endswith("line 4\nline 5\n")


def test_a_checkpoint_of_another_container_is_not_believed(tape: Tape, volume: SharedVolume, file: Path) -> None:
    note = volume.root / "state" / "jobs" / "a" / "capture.json"
    note.parent.mkdir(parents=True)
    note.write_text('{"container": "c0", "offset": 0, "since": "2027"}')
    tape.entries = [entry(1, "mine\n")]
    captured(tape, volume)
    assert file.read_text() == "mine\n"


@pytest.mark.parametrize("note", ["", "[]", '{"container": "c1"}', '{"container": "c1", "offset": "x", "since": 1}'])
def test_a_damaged_checkpoint_is_as_good_as_none(tape: Tape, volume: SharedVolume, file: Path, note: str) -> None:
    path = volume.root / "state" / "jobs" / "a" / "capture.json"
    path.parent.mkdir(parents=True)
    path.write_text(note)
    tape.entries = [entry(1, "one\n")]
    captured(tape, volume)
    assert file.read_text() == "one\n"


@pytest.mark.parametrize("planted", ["container.log", "logs", "job", "folder", "pipe"])
def test_what_a_job_plants_in_the_way_leads_nowhere(
    tape: Tape, volume: SharedVolume, file: Path, tmp_path: Path, planted: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "container.log").write_text("precious")
    job = volume.jobs / "a"
    if planted == "job":
        job.symlink_to(outside)
    elif planted == "logs":
        job.mkdir()
        (job / "logs").symlink_to(outside)
    else:
        file.parent.mkdir(parents=True)
        if planted == "folder":
            file.mkdir()
        elif planted == "pipe":
            os.mkfifo(file)
        else:
            file.symlink_to(outside / "container.log")
    tape.entries = [entry(1, "one\n")]
    captured(tape, volume)
    assert (outside / "container.log").read_text() == "precious"
    assert [path.name for path in outside.iterdir()] == ["container.log"]
    assert file.read_text() == "one\n"
    assert not file.is_symlink()


def test_a_note_of_ours_is_a_line(volume: SharedVolume, file: Path, tape: Any) -> None:
    Capture(tape, volume).note("a", "its container cannot be started")
    assert file.read_text() == "its container cannot be started\n"


@pytest.mark.parametrize(
    ("tail", "line"),
    [
        (b"", ""), (b"\n\n  \n", ""), (b"a\nb\n\n", "b"), (b"10%\r20%\r", "20%"), (b"\xff\xfe bad", "\ufffd\ufffd bad"),
        (b"a\x1b[31mred", "a [31mred"), (b"x" * 500, "x" * 200),
    ],
)  # fmt: skip
def test_the_last_lines_are_printable_and_short(tail: bytes, line: str) -> None:
    assert last_lines(tail)[-1:] == ((line,) if line else ())
