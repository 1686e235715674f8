"""What may be said of a running job, whatever it writes and whatever the clock does."""

import json
import math
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.situations import attempt, status

from opeva_operator.pulse import Pulses
from opeva_operator.situation import Beat
from opeva_operator.stall import LENIENT, PATIENT, Source, Stage, Watch, begun, is_stalled, longest_step, went_on
from opeva_operator.testing import FakeClock
from opeva_specs.status import JobStatus, Phase, changed
from opeva_specs.volume import SharedVolume

FLOOR = timedelta(seconds=300)
STEP = longest_step(FLOOR)

NUMBERS = st.floats() | st.integers(-5, 200) | st.none() | st.text(max_size=3)
WORDS = ("percent", "progress_pct", "progress", "step", "total", "step_current", "step_total", "status")
DOCUMENTS = st.dictionaries(st.sampled_from(WORDS), NUMBERS | st.just("initializing"))
STEADY = st.floats(0, 120).map(lambda percent: {"percent": percent})
WRITTEN = st.one_of(STEADY, DOCUMENTS, st.binary(max_size=20))
EVENTS = st.one_of(
    st.tuples(st.just("write"), WRITTEN),
    st.tuples(st.just("touch"), st.integers(-(10**10), 10**10)),
    st.tuples(st.just("look"), st.floats(0, 100)),
    st.tuples(st.just("jump"), st.integers(-(10**7), 10**7)),
    st.tuples(st.just("pause"), st.booleans()),
    st.tuples(st.just("restart"), st.none()),
)


class Scene:
    """A job on a real folder, at which everything can happen."""

    def __init__(self, root: Path) -> None:
        self.volume, self.clock = SharedVolume(root), FakeClock()
        self.file = root / "jobs" / "a" / "progress" / "progress.json"
        self.file.parent.mkdir(parents=True)
        seen = attempt(started_at=self.clock(), engine_state="running")
        self.status: JobStatus = status(Phase.RUNNING, attempts=(seen,))
        self.pulses = Pulses(self.volume, self.clock)

    def happens(self, event: str, what: Any) -> Beat:
        match event:
            case "write":
                self.file.write_bytes(what if isinstance(what, bytes) else json.dumps(what).encode())
            case "touch" if self.file.exists():
                os.utime(self.file, (what, what))
            case "look" | "jump":
                self.clock.advance(what)
            case "pause":
                self.facts(engine_state="paused" if what else "running")
            case "restart":
                self.pulses = Pulses(self.volume, self.clock)
        self.clock.advance(5)
        beat = self.pulses.look("a", self.status, True)
        self.facts(progress=beat.progress)
        return beat

    def facts(self, **facts: Any) -> None:
        (seen,) = self.status.status.attempts
        self.status = changed(self.status, status=changed(self.status.status, attempts=(changed(seen, **facts),)))


@settings(max_examples=150)
@given(st.lists(EVENTS, max_size=25), st.booleans())
def test_percent_never_falls_nor_is_100_and_no_estimate_is_impossible(
    events: list[tuple[str, Any]], is_finished: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        stage, percent = Scene(Path(root)), 0.0
        for event, what in events:
            told = stage.happens(event, what).progress
            if told is None:
                continue
            assert percent <= told.percent < 100
            percent = told.percent
            assert (told.eta_seconds is None) == (told.estimated_finish_at is None)
            assert told.eta_seconds is None or (math.isfinite(told.eta_seconds) and told.eta_seconds >= 0)
            assert told.estimated_finish_at is None or told.estimated_finish_at > stage.clock()
        phase = Phase.FINISHED if is_finished else Phase.FAILED
        stage.status = changed(stage.status, status=changed(stage.status.status, phase=phase))
        final = stage.pulses.final("a", stage.status)
        if is_finished:
            assert final is not None and final.percent == 100
        assert is_finished or final is None or percent <= final.percent < 100


# -- silence ---------------------------------------------------------------------------------------------------------

LOOKS = st.floats(0.1, 60).map(lambda seconds: timedelta(seconds=seconds))
SIGNS = st.lists(st.sampled_from(list(Source)), max_size=2, unique=True)
STAGES = st.sampled_from(list(Stage))
HISTORY = st.lists(st.tuples(LOOKS, SIGNS, st.booleans()), max_size=40)


def first(clock: FakeClock) -> Watch:
    return begun(clock(), clock(), {}, is_live=True)


def looked(watch: Watch, clock: FakeClock, after: timedelta, signs: list[Source], is_live: bool = True) -> Watch:
    clock.advance(after.total_seconds())
    return went_on(watch, clock(), dict.fromkeys(signs, clock()), is_live=is_live, longest_step=STEP)


@given(st.lists(st.tuples(LOOKS, SIGNS), max_size=200), STAGES, st.booleans())
def test_a_job_that_signs_more_often_than_the_floor_is_never_called_stalled(
    looks: list[tuple[timedelta, list[Source]]], stage: Stage, is_any_source: bool
) -> None:
    clock = FakeClock()
    watch, last_sign = first(clock), clock()
    for after, signs in looks:
        is_due = clock() + after + timedelta(seconds=61) - last_sign > FLOOR  # the next look may be too late
        present = signs or ([Source.LOG if is_any_source else Source.PROGRESS] if is_due else [])
        watch = looked(watch, clock, after, present)
        last_sign = clock() if present else last_sign
        assert not is_stalled(watch, stage, FLOOR)


@given(HISTORY, st.lists(st.integers(-(10**8), 10**8), min_size=1, max_size=2), STAGES)
def test_two_jumps_of_the_clock_are_no_stall_of_a_job_that_signs_often(
    history: list[tuple[timedelta, list[Source], bool]], jumps: list[int], stage: Stage
) -> None:
    clock = FakeClock()
    watch = first(clock)
    for after, signs, is_live in history:
        watch = looked(watch, clock, after, signs or [Source.LOG], is_live)
    for jump in jumps:
        watch = looked(watch, clock, timedelta(seconds=jump), [])
        assert not is_stalled(watch, stage, FLOOR)


@given(HISTORY, LOOKS, STAGES)
def test_of_a_job_that_is_silent_for_ever_it_is_always_said_in_the_end(
    history: list[tuple[timedelta, list[Source], bool]], every: timedelta, stage: Stage
) -> None:
    clock = FakeClock()
    watch = first(clock)
    for after, signs, is_live in history:
        watch = looked(watch, clock, after, signs, is_live)
    longest = max(PATIENT * FLOOR, LENIENT * watch.usual) + 2 * STEP
    for _ in range(math.ceil(longest / min(every, STEP)) + 1):
        was_stalled = is_stalled(watch, stage, FLOOR)
        watch = looked(watch, clock, every, [])
        assert is_stalled(watch, stage, FLOOR) or not was_stalled
        if was_stalled:
            break
    assert is_stalled(watch, stage, FLOOR)
