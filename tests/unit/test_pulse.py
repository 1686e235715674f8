"""Looks at running jobs: cheap, led astray by nothing that a job makes of its files, and sure of what they tell."""

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.situations import attempt, starting, status

from opeva_operator.pulse import MAX_PROGRESS_BYTES, Pulses
from opeva_operator.situation import Beat
from opeva_operator.testing import FakeClock
from opeva_specs.status import JobStatus, Phase, changed, condition, with_conditions
from opeva_specs.terms import Progress, Terms
from opeva_specs.volume import SharedVolume


class Run:
    """One running job on a real folder, with a clock that the test moves; its files get the clock's time."""

    def __init__(self, root: Path) -> None:
        self.volume, self.clock = SharedVolume(root), FakeClock()
        self.started_at = self.clock()
        self.job = root / "jobs" / "a"
        for folder in ("logs", "progress"):
            (self.job / folder).mkdir(parents=True)
        self.progress, self.log = self.job / "progress" / "progress.json", self.job / "logs" / "a.log"
        self.status = self.attempted()
        self.restart()

    def restart(self) -> None:
        self.pulses = Pulses(self.volume, self.clock)

    def attempted(self, number: int = 1, **facts: Any) -> JobStatus:
        seen = attempt(number, **{"started_at": self.clock(), "engine_state": "running", **facts})
        return status(Phase.RUNNING, attempts=(seen,))

    def facts(self, **facts: Any) -> None:
        (seen,) = self.status.status.attempts
        self.status = changed(self.status, status=changed(self.status.status, attempts=(changed(seen, **facts),)))

    def tells(self, **facts: Any) -> None:
        self.status = changed(self.status, status=changed(self.status.status, **facts))

    def writes(self, said: Any, *, at: datetime | None = None) -> None:
        self.put(self.progress, said if isinstance(said, bytes) else json.dumps(said).encode(), at)

    def put(self, path: Path, data: bytes, at: datetime | None = None) -> None:
        path.write_bytes(data)
        moment = (at or self.clock()).timestamp()
        os.utime(path, (moment, moment))

    def look(self, after: float = 5, *, is_live: bool = True) -> Beat:
        self.clock.advance(after)
        return self.pulses.look("a", self.status, is_live)

    def silence(self, seconds: float, *, is_live: bool = True) -> Beat:
        for _ in range(round(seconds / 5) - 1):
            self.look(is_live=is_live)
        return self.look(is_live=is_live)

    def percent(self, after: float = 5) -> float | None:
        told = self.look(after).progress
        return told and told.percent


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


# -- progress --------------------------------------------------------------------------------------------------------


def test_a_job_that_says_nothing_has_no_progress(run: Run) -> None:
    beat = run.look()
    assert (beat.progress, beat.is_stalled, beat.last_sign) == (None, False, run.started_at)


def test_progress_and_estimate_follow_the_file(run: Run) -> None:
    run.look()
    for percent in (10, 20):
        run.clock.advance(95)
        run.writes({"percent": percent})
        beat = run.look()
    assert beat.progress is not None
    assert (beat.progress.percent, beat.progress.eta_seconds) == (20, 800)
    assert beat.progress.updated_at == run.clock() - timedelta(seconds=5)
    assert beat.silent_for == timedelta(0)


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(b'{"percent": 5', id="torn"),
        pytest.param(b"", id="cut"),
        pytest.param(b"[50]", id="no object"),
        pytest.param(b'{"percent": NaN}', id="NaN"),
        pytest.param(b'{"step": Infinity, "total": Infinity}', id="Infinity"),
        pytest.param(b"\xff\xfe\xfd", id="no text"),
        pytest.param(b"[" * 200_000, id="nested too deep"),
        pytest.param(b'{"percent": 90}' + b" " * MAX_PROGRESS_BYTES, id="too large"),
    ],
)
def test_a_file_that_makes_no_sense_changes_no_percentage(run: Run, torn: bytes) -> None:
    run.writes({"percent": 40})
    assert run.percent() == 40
    run.writes(torn)
    assert run.percent() == 40


def test_a_torn_file_is_read_once_more_even_if_it_looks_the_same(run: Run) -> None:
    run.writes(b'{"percent": 70?')
    assert run.percent() is None
    before = run.progress.stat()
    with run.progress.open("r+b") as file:
        file.write(b'{"percent": 70}')
    os.utime(run.progress, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run.percent() == 70


def test_an_unchanged_file_is_not_read_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real: Callable[..., bytes] = SharedVolume.read
    monkeypatch.setattr(SharedVolume, "read", lambda *args: reads.append(args[1]) or real(*args))
    run.writes({"percent": 40})
    for _ in range(10):
        run.look()
    assert reads == ["jobs/a/progress/progress.json"]
    run.writes(b"{")
    for _ in range(10):
        run.look()
    assert len(reads) == 3


def test_no_link_and_no_pipe_is_followed(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"percent": 66}')
    run.progress.symlink_to(secret)
    run.log.symlink_to(secret)
    os.mkfifo(run.job / "logs" / "container.log")
    beat = run.look()
    assert (beat.progress, beat.last_sign) == (None, run.started_at)
    for folder in ("progress", "logs"):
        (run.job / folder).rename(run.job / f"{folder}-aside")
        (run.job / folder).symlink_to(tmp_path)
    (tmp_path / "progress.json").write_text('{"percent": 66}')
    beat = run.look()
    assert (beat.progress, beat.last_sign) == (None, run.started_at)
    assert run.pulses.final("a", run.status) is None


def test_links_in_place_of_its_folders_hide_no_silence(run: Run, tmp_path: Path) -> None:
    lively(run)
    for folder in ("progress", "logs"):
        (run.job / folder).rename(run.job / f"{folder}-aside")
    (run.job / "progress").symlink_to(tmp_path)
    (run.job / "logs").write_text("no folder")
    assert run.silence(400).is_stalled


@pytest.mark.parametrize("years", [-60, 60, 250])
def test_a_file_of_an_impossible_time_is_as_old_as_it_can_be(run: Run, years: int) -> None:
    run.look()
    before = run.clock()
    run.writes({"percent": 40}, at=before + timedelta(days=365 * years))
    beat = run.look()
    assert beat.progress is not None and beat.progress.updated_at is not None
    assert before <= beat.progress.updated_at <= run.clock()
    final = run.pulses.final("a", changed(run.status, status=changed(run.status.status, phase=Phase.FINISHED)))
    assert final is not None and final.updated_at is not None
    assert run.started_at <= final.updated_at <= run.clock()


def test_another_attempt_begins_anew(run: Run) -> None:
    run.writes({"percent": 90})
    run.look()
    run.progress.unlink()
    run.status = run.attempted(2)
    assert run.percent() is None
    run.writes({"percent": 3})
    assert run.percent() == 3


def test_a_percentage_does_not_fall_when_the_operator_is_restarted(run: Run) -> None:
    run.facts(progress=Progress(percent=50, updated_at=run.started_at))
    run.writes({"percent": 30})
    assert run.percent() == 50


def test_a_pause_makes_no_estimate_wild(run: Run) -> None:
    for percent in (10, 20):
        run.writes({"percent": percent})
        run.look(100)
    run.facts(engine_state="paused")
    paused = run.look().progress
    run.look(86400)
    run.facts(engine_state="running")
    for percent in (21, 22):
        run.writes({"percent": percent})
        beat = run.look(10)
    assert paused is not None and paused.eta_seconds is None
    assert beat.progress is not None and beat.progress.eta_seconds == 780


@pytest.mark.parametrize("jump", [86400, -86400], ids=["forward", "backward"])
def test_a_clock_that_jumps_makes_no_estimate_wild(run: Run, jump: float) -> None:
    for percent in (10, 20):
        run.writes({"percent": percent})
        run.look(100)
    beat = run.look(jump)
    assert beat.progress is not None and beat.progress.eta_seconds is None
    for percent in (21, 22):
        run.writes({"percent": percent})
        beat = run.look(10)
    assert beat.progress is not None and beat.progress.eta_seconds == 780


# -- silence ---------------------------------------------------------------------------------------------------------


def lively(run: Run, percent: float = 10) -> None:
    for n in range(10):
        run.writes({"percent": percent + n / 100})
        run.put(run.log, b"line\n" * (n + 1))
        run.look()


def test_a_lively_job_that_falls_silent_is_stalled_and_tells_so(run: Run) -> None:
    lively(run)
    last = run.look().last_sign
    assert not run.silence(295).is_stalled
    beat = run.look()
    assert beat.is_stalled and beat.silent_for == timedelta(seconds=305) and beat.last_sign == last
    assert beat.words == "progress.json and the log have been silent for 5 min; usually it is 5 s at most"
    run.put(run.log, b"awake\n")
    assert not run.look().is_stalled


@pytest.mark.parametrize("name", ["a.log", "container.log", "7f3a91.log", "metrics.jsonl"])
def test_any_log_of_the_job_is_a_sign(run: Run, name: str) -> None:
    lively(run)
    run.silence(290)
    run.put(run.job / "logs" / name, b"something\n" * 20)
    beat = run.look()
    assert beat.silent_for == timedelta(0)


def test_many_files_beside_the_logs_hide_no_log(run: Run) -> None:
    for n in range(500):
        (run.job / "logs" / f"{n}.txt").write_text("x")
    lively(run)
    assert run.look().last_sign >= run.clock() - timedelta(seconds=10)


def test_before_the_first_sign_a_job_has_longer(run: Run) -> None:
    run.look(0)
    assert not run.silence(1800).is_stalled
    beat = run.look()
    assert beat.is_stalled
    assert beat.words == "it has given no sign since its start, neither progress.json nor a log line, for 30 min"


def test_an_empty_log_is_no_sign(run: Run) -> None:
    (run.job / "logs" / "container.log").touch()
    run.look(0)
    assert "no sign since its start" in run.silence(400).words


def test_while_it_says_that_it_initializes_a_job_has_longer(run: Run) -> None:
    run.writes({"percent": 0, "status": "initializing"})
    assert not run.silence(1800).is_stalled
    assert run.look().is_stalled


def test_while_it_exports_a_job_has_longer(run: Run) -> None:
    lively(run, 99.6)
    assert not run.silence(1800).is_stalled
    assert run.look().is_stalled


@pytest.mark.parametrize(
    "what",
    [
        pytest.param({"attempt": {"engine_state": "paused"}}, id="paused"),
        pytest.param({"is_live": False}, id="no process"),
        pytest.param({"engine": False}, id="the engine says nothing"),
        pytest.param({"engine": None}, id="nobody knows of the engine"),
        pytest.param({"phase": Phase.STOPPING}, id="it is being stopped"),
        pytest.param({"volume": "away"}, id="its folder cannot be looked at"),
    ],
)
def test_there_is_no_verdict_where_nothing_can_be_known(run: Run, what: dict[str, Any]) -> None:
    lively(run)
    if "attempt" in what:
        run.facts(**what["attempt"])
    if "engine" in what:
        told = condition("EngineReachable", what["engine"], "x", "", run.clock())
        run.tells(conditions=with_conditions((), told))
    if "phase" in what:
        run.tells(phase=what["phase"])
    if "volume" in what:
        run.job.rename(run.job.with_name("b"))
    beat = run.silence(1000, is_live=what.get("is_live", True))
    assert not beat.is_stalled
    assert beat.silent_for <= timedelta(seconds=5)


def test_a_folder_that_comes_back_is_judged_as_before(run: Run) -> None:
    lively(run)
    away = run.job.with_name("b")
    run.silence(100)
    run.job.rename(away)
    assert run.look().progress is not None
    away.rename(run.job)
    assert not run.silence(190).is_stalled
    assert run.silence(30).is_stalled


@pytest.mark.parametrize("jump", [3600, 86400 * 365, -3600], ids=["an hour", "a year", "backward"])
@pytest.mark.parametrize("stall_seconds", [6, 60])
def test_a_clock_that_jumps_ends_no_run(run: Run, jump: float, stall_seconds: int) -> None:
    run.tells(terms=Terms(stall_seconds=stall_seconds))
    lively(run)
    beat = run.look(jump)
    assert not beat.is_stalled
    assert beat.silent_for < timedelta(seconds=stall_seconds)


def test_after_a_restart_the_files_times_are_the_last_sign_and_the_verdict_waits(run: Run) -> None:
    lively(run)
    last = run.look().last_sign
    run.clock.advance(3600)
    run.restart()
    beat = run.look(0)
    assert beat.last_sign == last
    assert (beat.is_stalled, beat.silent_for) == (False, timedelta(0))
    beat = run.silence(55)
    assert (beat.is_stalled, beat.silent_for) == (False, timedelta(seconds=55))
    beat = run.look()
    assert (beat.is_stalled, beat.silent_for) == (True, timedelta(seconds=3670))


@pytest.mark.parametrize("offset", [7200, -7200], ids=["fast", "slow"])
def test_the_engines_clock_is_not_ours(run: Run, offset: float) -> None:
    of_engine = timedelta(seconds=offset)
    run.facts(started_at=run.started_at + of_engine, clock_offset=offset)
    assert run.look().last_sign == run.started_at
    assert not run.silence(1790).is_stalled
    assert run.silence(10).is_stalled
    run.writes({"percent": 30})
    written_at = run.clock()
    run.facts(finished_at=written_at + of_engine + timedelta(seconds=1))
    assert run.pulses.final("a", run.status) == Progress(percent=30, updated_at=written_at)


def test_an_operator_that_slept_counts_nothing_of_it(run: Run) -> None:
    lively(run)
    assert run.look(3600).silent_for <= timedelta(seconds=30)


def test_a_job_that_has_not_started_is_not_judged(run: Run) -> None:
    for unstarted in (starting(), status()):
        beat = run.pulses.look("a", unstarted, True)
        assert (beat.is_stalled, beat.progress, beat.words) == (False, None, "it has not started yet")
        assert run.pulses.final("a", unstarted) is None


def test_what_is_forgotten_is_looked_at_as_for_the_first_time(run: Run) -> None:
    lively(run)
    run.silence(100)
    run.pulses.forget("a")
    run.pulses.forget("unknown")
    assert run.look(0).words.endswith("what is usual is not known yet")


# -- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase", "percent"), [(Phase.FINISHED, 100), (Phase.FAILED, 80), (Phase.STOPPED, 80)])
@pytest.mark.parametrize("is_known", [True, False])
def test_at_the_end_the_last_words_count(run: Run, phase: Phase, percent: float, is_known: bool) -> None:
    if is_known:
        run.writes({"percent": 70})
        run.look()
    run.writes({"percent": 80})
    written_at = run.clock()
    run.clock.advance(3600)
    run.tells(phase=phase)
    run.facts(finished_at=written_at + timedelta(seconds=1), reason="x")
    assert run.pulses.final("a", run.status) == Progress(percent=percent, updated_at=written_at)


def test_nothing_of_a_job_was_written_after_its_end(run: Run) -> None:
    run.writes({"percent": 80}, at=run.clock() + timedelta(seconds=50))
    run.clock.advance(100)
    run.facts(finished_at=run.started_at + timedelta(seconds=10))
    final = run.pulses.final("a", run.status)
    assert final is not None and final.updated_at == run.started_at + timedelta(seconds=10)


def test_at_the_end_what_was_told_before_a_restart_still_counts(run: Run) -> None:
    run.facts(progress=Progress(percent=50, updated_at=run.started_at, eta_seconds=1), reason="ExitNonZero")
    run.tells(phase=Phase.FAILED)
    assert run.pulses.final("a", run.status) == Progress(percent=50, updated_at=run.started_at)


def test_an_earlier_attempt_adds_nothing_to_the_end_of_a_later_one(run: Run) -> None:
    run.writes({"percent": 90})
    run.look()
    run.progress.unlink()
    run.status = run.attempted(2)
    run.tells(phase=Phase.FAILED)
    assert run.pulses.final("a", run.status) is None
