"""When silence is a stall: by what is usual for the run, by what it is at, and never by what the clock did."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from opeva_operator.stall import Source, Stage, Watch, begun, is_stalled, limit, sentence, span, went_on
from opeva_operator.testing import FakeClock

FLOOR = timedelta(seconds=300)
STEP = timedelta(seconds=30)
BOTH = (Source.PROGRESS, Source.LOG)


class Story:
    """A run that is looked at every five seconds, and gives a sign when it is told to."""

    def __init__(self, *sources: Source, ran_for: float = 0) -> None:
        self.clock = FakeClock()
        started_at = self.clock()
        self.clock.advance(ran_for)
        self.watch: Watch = begun(self.clock(), started_at, dict.fromkeys(sources, self.clock()), is_live=True)

    def look(self, after: float, *sources: Source, is_live: bool = True, at: datetime | None = None) -> Watch:
        self.clock.advance(after)
        signs = dict.fromkeys(sources, at or self.clock())
        self.watch = went_on(self.watch, self.clock(), signs, is_live=is_live, longest_step=STEP)
        return self.watch

    def signs(self, times: int, every: float, *sources: Source) -> None:
        for _ in range(times):
            self.silence(every - 5)
            self.look(5, *sources)

    def silence(self, seconds: float, *, is_live: bool = True) -> Watch:
        for _ in range(round(seconds / 5)):
            self.look(5, is_live=is_live)
        return self.watch


def stalled(watch: Watch, stage: Stage = Stage.WORKING) -> bool:
    return is_stalled(watch, stage, FLOOR)


@pytest.mark.parametrize(
    ("every", "silence", "verdict"),
    [
        pytest.param(5, 300, False, id="lively, silent as long as anybody may be"),
        pytest.param(5, 305, True, id="lively, silent for longer"),
        pytest.param(60, 600, False, id="once a minute, silent for ten"),
        pytest.param(60, 605, True, id="once a minute, silent for longer than ten"),
    ],
)
def test_a_silence_is_judged_by_what_is_usual_for_the_run(every: float, silence: float, verdict: bool) -> None:
    story = Story(*BOTH)
    story.signs(10, every, *BOTH)
    assert stalled(story.silence(silence)) is verdict


@pytest.mark.parametrize("stage", [Stage.STARTING, Stage.EXPORTING])
def test_while_it_starts_or_exports_silence_is_normal_for_longer(stage: Stage) -> None:
    story = Story(*BOTH)
    story.signs(10, 5, *BOTH)
    assert not stalled(story.silence(1800), stage)
    assert stalled(story.silence(5), stage)


@pytest.mark.parametrize("stage", list(Stage))
def test_who_is_seldom_heard_has_longer_at_every_stage(stage: Stage) -> None:
    story = Story(*BOTH)
    story.signs(3, 600, *BOTH)
    assert limit(story.watch, stage, FLOOR) == timedelta(seconds=6000)


def test_rare_log_lines_do_not_excuse_progress_that_was_frequent() -> None:
    story = Story(*BOTH)
    for _ in range(3):
        story.signs(360, 5, Source.PROGRESS)
        story.look(5, Source.LOG)
    assert limit(story.watch, Stage.WORKING, FLOOR) == FLOOR


def test_frequent_log_lines_do_not_hide_that_progress_is_rare() -> None:
    story = Story(*BOTH)
    for _ in range(3):
        story.signs(59, 10, Source.LOG)
        story.look(10, *BOTH)
    assert story.watch.usual == timedelta(seconds=600)
    assert not stalled(story.silence(1200))


def test_what_is_usual_is_forgotten_after_twenty_signs() -> None:
    story = Story(Source.LOG)
    story.signs(1, 600, Source.LOG)
    story.signs(19, 5, Source.LOG)
    assert story.watch.usual == timedelta(seconds=600)
    story.signs(1, 5, Source.LOG)
    assert story.watch.usual == timedelta(seconds=5)


def test_after_a_restart_the_files_tell_how_long_it_has_been_silent_but_no_verdict_is_given_at_once() -> None:
    clock = FakeClock()
    started_at = clock()
    clock.advance(7200)
    watch = begun(clock(), started_at, {Source.LOG: started_at + timedelta(seconds=3600)}, is_live=True)
    assert watch.last_sign == started_at + timedelta(seconds=3600)
    story = Story()
    story.watch, story.clock = watch, clock
    assert story.silence(55).silent_for == timedelta(seconds=55)
    assert stalled(story.silence(5))
    assert story.watch.silent_for == timedelta(seconds=3660)


def test_a_job_that_was_not_at_work_at_the_first_look_owes_no_sign_of_before() -> None:
    clock = FakeClock()
    started_at = clock()
    clock.advance(7200)
    story = Story()
    story.watch, story.clock = begun(clock(), started_at, {Source.LOG: started_at}, is_live=False), clock
    story.look(5)
    assert story.silence(100).silent_for == timedelta(seconds=100)


def test_a_silence_that_began_before_anybody_looked_teaches_nothing() -> None:
    story = Story(Source.LOG)
    story.watch = begun(story.clock(), story.clock() - timedelta(hours=2), {Source.LOG: datetime.min.replace(
        tzinfo=story.clock().tzinfo)}, is_live=True)  # fmt: skip
    story.signs(2, 5, Source.LOG)
    assert story.watch.usual == timedelta(seconds=5)


def test_the_time_until_the_first_sign_teaches_nothing() -> None:
    story = Story()
    story.signs(2, 900, *BOTH)
    assert story.watch.any_sign.recent == story.watch.progress.recent == (timedelta(seconds=900),)


@pytest.mark.parametrize("seconds", [3600, 86400 * 400, -3600], ids=["an hour", "a year", "backwards"])
def test_a_clock_that_jumps_gives_no_verdict(seconds: float) -> None:
    story = Story(*BOTH)
    story.signs(10, 5, *BOTH)
    story.silence(120)
    assert not stalled(story.look(seconds))
    assert timedelta(seconds=120) <= story.watch.silent_for <= timedelta(seconds=120) + STEP


def test_time_without_a_process_at_work_is_no_silence() -> None:
    story = Story(*BOTH)
    story.silence(250)
    assert not stalled(story.silence(3600, is_live=False))
    assert not stalled(story.look(5))
    assert story.watch.silent_for == timedelta(seconds=250)


def test_what_is_not_at_work_is_never_called_stalled() -> None:
    story = Story(*BOTH)
    assert stalled(story.silence(400))
    assert not stalled(story.look(5, is_live=False))


def test_a_sign_ends_a_stall() -> None:
    story = Story(*BOTH)
    assert stalled(story.silence(400))
    assert not stalled(story.look(5, Source.LOG))
    assert story.watch.last_sign == story.clock()


@pytest.mark.parametrize("years", [-50, 50])
def test_a_file_of_an_impossible_time_was_written_between_two_looks(years: int) -> None:
    story = Story(*BOTH)
    before = story.clock()
    story.look(5, Source.LOG, at=before + timedelta(days=365 * years))
    assert before <= story.watch.last_sign <= story.clock()


@pytest.mark.parametrize(
    ("heard", "every", "stage", "words"),
    [
        pytest.param(
            BOTH, 5, Stage.WORKING,
            "progress.json and the log have been silent for 10 min; usually it is 5 s at most", id="both",
        ),
        pytest.param(
            (Source.LOG,), 60, Stage.EXPORTING,
            "the log has been silent for 10 min while exporting; usually it is 60 s at most", id="one",
        ),
        pytest.param(
            (Source.PROGRESS,), 0, Stage.STARTING,
            "progress.json has been silent for 10 min while starting; what is usual is not known yet", id="no rhythm",
        ),
        pytest.param(
            (), 0, Stage.STARTING,
            "it has given no sign since its start, neither progress.json nor a log line, for 10 min", id="nothing",
        ),
    ],
)  # fmt: skip
def test_a_sentence_says_what_is_silent_how_long_and_what_was_usual(
    heard: Sequence[Source], every: float, stage: Stage, words: str
) -> None:
    story = Story(*heard)
    if every:
        story.signs(3, every, *heard)
    assert sentence(story.silence(620), stage) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119.9, "119 s"), (120, "2 min"), (899, "10 min"), (7199, "115 min"), (7200, "2 h"), (2e5, "2 days")],
)
def test_a_span_is_coarser_the_longer_it_is(seconds: float, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words
