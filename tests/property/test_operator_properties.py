"""Whatever happens, in whatever order: no run is lost, doubled or told wrongly."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.mortal import Run, run_of
from tests.unit.simulation import Simulation, document

from opeva_operator.engine import EngineUnreachable
from opeva_operator.retries import CHARGED, USERS
from opeva_operator.testing import FakeRun
from opeva_specs.parse import parse
from opeva_specs.status import Attempt, Generation, JobStatus, Phase, Reason

NAMES = ("a", "b", "c")
PLACES, RETRIES = 2, 3
CALLS = (
    "create",
    "start",
    "signal",
    "remove",
    "find",
    "list",
    "logs",
    "image_digest",
    "ensure_network",
    "pull",
    "ping",
)
SPOILT = "kind: Nonsense\n"
names = st.sampled_from(NAMES)
FILES = ("x.yaml", "api/x.yaml", "other/x.yaml")
files = st.sampled_from(FILES)


def op(what: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(what), *arguments)


terms = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "backoffLimit": st.integers(0, 2),
        "activeDeadlineSeconds": st.sampled_from((5, 60)),
        "priority": st.integers(0, 2),
        "failOn": st.just([1]),
        "retryOn": st.just([137, 143]),
        "stallSeconds": st.sampled_from((5, 60)),
        "ttlSecondsAfterFailed": st.sampled_from((0, 30)),
        "ttlSecondsAfterFinished": st.sampled_from((0, 30)),
        "keep": st.booleans(),
    },
)
STEPS = st.one_of(
    op("drop", names, files, st.integers(0, 2)),
    op("drop", names, files, st.integers(0, 2)),
    op("label", names, files, st.integers(0, 2), st.integers(0, 3)),
    op("terms", names, files, st.integers(0, 2), terms),
    op("spoil", names, files),
    op("remove", names, files),
    op("wish", names, st.sampled_from(("stop", "rerun", "delete")), st.booleans()),
    op("finish", names, st.sampled_from((0, 1, 137, 143)), st.booleans()),
    op("wait", st.integers(1, 12)),
    op("wait", st.integers(1, 12)),
    op("crash", st.integers(1, 60)),
    op("restart"),
    op("outage"),
    op("back"),
    op("fail", st.sampled_from(CALLS), st.booleans()),
    op("engine_restart"),
    op("deaf", st.booleans()),
    op("stubborn", names, st.booleans(), st.booleans()),
    op("fetch", names, files, st.booleans()),
    op("vanish", names),
    op("clock", st.sampled_from((-7200, 0, 7200))),
    op("pause", names),
    op("lose_status", names),
)


class World:
    """A simulation, what happened in it, and what was told so far."""

    def __init__(self, root: Path) -> None:
        self.s = Simulation(root, max_concurrent_jobs=PLACES, server_retries=RETRIES)
        self.ended: dict[tuple[str, int, int], tuple[Phase | None, str | None]] = {}
        self.over: dict[tuple[str, int, int, int], Attempt] = {}
        self.newest: dict[tuple[str, int], int] = {}
        self.limits: dict[str, int] = {}  # the most retries that any file of a job allowed
        self.ended_by_person: dict[tuple[str, int, int], int] = {}  # how often the run had been started by then
        self.vanished: set[Run] = set()  # whose containers were removed by others
        self.has_lost_any = False  # what runs is adopted then, whether or not there is a place
        self.deleted: set[str] = set()  # jobs for which a person wished so

    def do(self, step: tuple[Any, ...]) -> None:
        """One thing happens, and the operator does what it can."""
        what, *arguments = step
        getattr(self, what)(*arguments)
        self.s.run()
        self.look()

    def drop(self, name: str, file: str, variant: int) -> None:
        self.s.write(_file(name, file), document(name, args=[str(variant)]))

    def label(self, name: str, file: str, variant: int, label: int) -> None:
        self.s.write(_file(name, file), document(name, args=[str(variant)], labels={"l": str(label)}))

    def terms(self, name: str, file: str, variant: int, terms: dict[str, Any]) -> None:
        self.limits[name] = max(self.limits.get(name, 0), terms.get("backoffLimit", 0))
        self.s.write(_file(name, file), document(name, args=[str(variant)], **terms))

    def fetch(self, name: str, file: str, is_there: bool) -> None:
        self.s.engine.host.registry.update({"far:1": "sha256:1"} if is_there else {})
        self.s.write(_file(name, file), document(name, image=f"far:{int(is_there)}"))

    def spoil(self, name: str, file: str) -> None:
        if (self.s.volume.specs / _file(name, file)).exists():
            self.s.write(_file(name, file), SPOILT)

    def remove(self, name: str, file: str) -> None:
        self.s.remove(_file(name, file))

    def wish(self, name: str, kind: str, knows_digest: bool) -> None:
        status = self.s.statuses.read(name)
        self.s.wish(name, kind, digest=status.metadata.digest if status and knows_digest else None)
        self.deleted |= {name} if kind == "delete" else set()
        self.s.run()
        if status is not None and kind in ("stop", "delete") and not status.status.phase.is_terminal:
            self._note_end(name, status)

    def _note_end(self, name: str, before: JobStatus) -> None:
        """If the wish was granted to that very run, nothing of it may start from now on."""
        now, run = self.s.statuses.read(name), before.metadata.generation
        intent = now.status.intent if now is not None and now.metadata.generation == run else None
        if intent is not None and intent.reason == Reason.STOPPED_BY_USER:
            self.ended_by_person[name, self.s.lives[name], run] = self._starts(name, run)

    def _starts(self, name: str, generation: int) -> int:
        return sum(run[:2] == (name, generation) for run in self.s.engine.history)

    def finish(self, name: str, code: int, oom: bool) -> None:
        if self.s.is_live(name):
            self.s.finish(name, code, oom=oom and code == 137)

    def wait(self, seconds: int) -> None:
        self.s.wait(seconds)

    def crash(self, step: int) -> None:
        self.s.crash_at(step)

    def restart(self) -> None:
        self.s.restart()

    def outage(self) -> None:
        self.s.engine.is_reachable = False

    def back(self) -> None:
        self.s.engine.is_reachable = True

    def fail(self, method: str, lose_reply: bool) -> None:
        self.s.engine.fail(method, EngineUnreachable("no answer"), lose_reply=lose_reply)

    def engine_restart(self) -> None:
        self.s.engine.restart()

    def deaf(self, is_deaf: bool) -> None:
        self.s.is_deaf = is_deaf

    def stubborn(self, name: str, is_stubborn: bool, is_unkillable: bool) -> None:
        self.s.engine.runs[name] = FakeRun(ignores_term=is_stubborn, ignores_kill=is_stubborn and is_unkillable)

    def vanish(self, name: str) -> None:
        """Somebody removes its container behind the operator's back; whatever ran ends."""
        boxes = self.s.engine.host.boxes
        for found in [found for found, box in boxes.items() if box.wanted.job == name]:
            self.vanished.add(run_of(boxes.pop(found).seen))

    def clock(self, seconds: int) -> None:
        """Somebody sets the host's clock."""
        ours, ahead = self.s.clock, timedelta(seconds=seconds)
        self.s.engine.host.clock = lambda: ours() + ahead
        for host in self.s.operator._hosts:
            host.facts.clock_offset = ahead

    def pause(self, name: str) -> None:
        if self.s.is_live(name):
            self.s.engine.pause(name)

    def lose_status(self, name: str) -> None:
        (self.s.volume.status / f"{name}.json").unlink(missing_ok=True)
        self.has_lost_any = True

    # -- what must hold at every moment --------------------------------------------------------------------------

    def look(self) -> None:
        """Nothing that was told as ended is ever told otherwise."""
        self.s.engine.note_outcomes()
        assert self.s.engine.faults == []
        doubled = [run for run, times in Counter(self.s.engine.history).items() if times > 1]
        assert doubled == []
        for name in NAMES:
            status = self.s.statuses.read(name)
            if status is not None:
                self._compare(name, self.s.lives[name], status)
                self._look_at_files(name, status)
                self._look_at_budget(name, status)
        for (name, life, generation), starts in self.ended_by_person.items():
            assert life != self.s.lives[name] or self._starts(name, generation) <= starts
        counted = [name for name in NAMES if self.s.is_live(name) and not self.s.phase(name).endswith("Unkillable")]
        assert self.has_lost_any or len(counted) <= PLACES

    def _look_at_files(self, name: str, status: JobStatus) -> None:
        """The end of its time takes away no files of a live or a kept job."""
        assert (self.s.volume.jobs / name).is_dir() or not self.s.is_live(name)
        assert not (status.status.hidden and status.status.terms.keep) or name in self.deleted

    def _look_at_budget(self, name: str, status: JobStatus) -> None:
        limit = self.limits.get(name, 0)
        for generation in status.status.generations:
            ended = [a.reason for a in status.status.attempts if a.generation == generation.generation]
            assert sum(reason in USERS for reason in ended) <= 1 + limit
            assert sum(reason in CHARGED for reason in ended) <= (1 + limit + RETRIES if limit else 1)

    def _compare(self, name: str, life: int, status: JobStatus) -> None:
        told = [g.generation for g in status.status.generations]
        assert told == list(range(1, len(told) + 1))
        assert len(told) >= self.newest.get((name, life), 0), f"generations of {name} were lost"
        self.newest[name, life] = len(told)
        for generation in status.status.generations:
            self._compare_generation(name, life, generation)
        for attempt in status.status.attempts:
            if not attempt.is_open:
                key = (name, life, attempt.generation, attempt.attempt)
                assert _facts(self.over.setdefault(key, attempt)) == _facts(attempt)

    def _compare_generation(self, name: str, life: int, generation: Generation) -> None:
        if generation.phase is not None:
            told = (generation.phase, generation.reason)
            assert self.ended.setdefault((name, life, generation.generation), told) == told

    # -- what must hold in the end -------------------------------------------------------------------------------

    def calm_down(self) -> None:
        """No more trouble: everything that runs ends, and the operator has time for all of it."""
        self.s.fate.left = None
        self.s.engine.is_reachable = True
        self.s.engine._faults.clear()
        self.s.is_deaf = False
        for _ in range(6):
            self.s.wait(65)
            for name in NAMES:
                self.finish(name, 5, False)
            self.look()
        self.s.wait(65)
        self.look()

    def judge(self) -> None:
        """All that was wanted was done, all that was done is told, as the engine saw it."""
        assert self.s.engine.host.boxes == {}
        roster = self.s.operator._roster
        assert (roster.running(), roster._line.occupied("local")) == (set(), [])
        assert self.s.controls.names() == []
        for name in NAMES:
            status = self.s.statuses.read(name)
            found = self._wanted(name)
            if status is None:
                assert found == set()
                continue
            is_suspended = status.status.terms.suspend and status.status.reason == Reason.SUSPENDED
            assert status.status.phase.is_terminal or is_suspended, self.s.phase(name)
            if found and not any(self._is_spoilt(path) for path in self._files(name)):
                assert status.metadata.digest in found
            self._judge_attempts(name, status)

    def _wanted(self, name: str) -> set[str]:
        """The digests that files want; more than one while files quarrel over the name."""
        paths = [path for path in self._files(name) if path.exists() and not self._is_spoilt(path)]
        return {parse(path.read_bytes())[0].digest for path in paths}

    def _files(self, name: str) -> list[Path]:
        return [self.s.volume.specs / _file(name, file) for file in FILES]

    @staticmethod
    def _is_spoilt(path: Path) -> bool:
        return path.is_file() and path.read_text() == SPOILT

    def _judge_attempts(self, name: str, status: JobStatus) -> None:
        told = {(name, a.generation, a.attempt): a for a in status.status.attempts}
        started = {run for run in self.s.engine.history if run[0] == name}
        assert started <= told.keys()
        for run, attempt in told.items():
            if run in self.vanished:
                assert attempt.reason != Reason.COMPLETED
            elif run in started:
                assert (attempt.exit_code, attempt.oom_killed) == self.s.engine.outcomes[run]
                assert (attempt.reason == Reason.COMPLETED) <= (attempt.exit_code == 0)
            else:
                assert attempt.exit_code is None
                assert attempt.started_at is None


def _file(name: str, file: str) -> str:
    return file.replace("x", name)


def _facts(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.exit_code, attempt.oom_killed, attempt.reason, attempt.started_at, attempt.finished_at


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A folder in memory where there is one: every example makes hundreds of durable writes."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def history(steps: list[tuple[Any, ...]], root: Path) -> World:
    world = World(root)
    for step in steps:
        world.do(step)
    return world


quick = settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)


@quick
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_every_run_runs_once_and_is_told_as_it_ended(steps: list[tuple[Any, ...]]) -> None:
    with fresh_folder() as root:
        world = history(steps, root)
        world.calm_down()
        world.judge()
