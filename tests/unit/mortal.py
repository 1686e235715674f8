"""A volume and an engine whose caller may die at any step, and which remember what must never happen."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opeva_operator.engine import Container
from opeva_operator.testing import FakeClock, FakeEngine
from opeva_specs.store import StatusStore
from opeva_specs.volume import SharedVolume

Run = tuple[str, int, int]  # job, generation, attempt


class Crash(BaseException):
    """The operator's process is gone."""


@dataclass
class Fate:
    """When the operator dies: at its n-th step from now on (a call of the engine, or a write)."""

    left: int | None = None
    met: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)  # jobs whose status the operator removed

    def step(self, what: str) -> None:
        self.met.append(what)
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left = None
            raise Crash(what)


class MortalVolume(SharedVolume):
    """A volume whose writer may die before, in the middle of, and after every change."""

    fate: Fate

    def __init__(self, root: Path, fate: Fate) -> None:
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "fate", fate)

    def write(self, relative: str, data: bytes, *, durable: bool, mode: int = 0o644) -> None:
        self.fate.step(f"before write {relative}")
        try:
            self.fate.step(f"amid write {relative}")
        except Crash:
            torn = self.root / relative
            torn.parent.mkdir(parents=True, exist_ok=True)
            torn.with_name(f".{torn.name}.dead~").write_bytes(data[: len(data) // 2])
            raise
        super().write(relative, data, durable=durable, mode=mode)
        self.fate.step(f"after write {relative}")

    def append(self, relative: str, data: bytes, *, durable: bool = False) -> None:
        self.fate.step(f"before append {relative}")
        try:
            self.fate.step(f"amid append {relative}")
        except Crash:
            super().append(relative, data[: len(data) // 2])
            raise
        super().append(relative, data, durable=durable)
        self.fate.step(f"after append {relative}")

    def remove(self, relative: str, *, durable: bool = False) -> None:
        self.fate.step(f"before remove {relative}")
        super().remove(relative, durable=durable)
        if relative.startswith("status/"):
            self.fate.deleted.append(relative[len("status/") : -len(".json")])
        self.fate.step(f"after remove {relative}")

    def rename(self, relative: str, target: str) -> None:
        self.fate.step(f"before rename {relative}")
        super().rename(relative, target)
        self.fate.step(f"after rename {relative}")

    def remove_tree(self, relative: str) -> None:
        self.fate.step(f"before remove_tree {relative}")
        super().remove_tree(relative)
        self.fate.step(f"after remove_tree {relative}")


class MortalEngine(FakeEngine):
    """A fake engine whose caller may die before and after every call; it keeps the history of what ran."""

    def __init__(self, clock: FakeClock, fate: Fate, statuses: StatusStore) -> None:
        super().__init__("unnamed", clock)
        self.fate, self._recorded = fate, statuses
        self.history: list[Run] = []
        self.outcomes: dict[Run, tuple[int | None, bool]] = {}
        self.faults: list[str] = []  # what must never happen, and did

    @contextmanager
    def _asked(self, method: str, *subjects: str) -> Any:
        self.fate.step(f"before {method}")
        with super()._asked(method, *subjects):
            yield
        self.fate.step(f"after {method}")

    def start(self, container_id: str) -> None:
        box = self.host.boxes.get(container_id)
        was_live = box is None or box.seen.is_live
        try:
            super().start(container_id)
        finally:
            if box is not None and not was_live and box.seen.started_at is not None:
                self.history.append(run_of(box.seen))
                live = [one for one in self._own() if one.wanted.job == box.wanted.job and one.seen.is_live]
                if len(live) > 1:
                    self.faults.append(f"two live containers of job {box.wanted.job}")

    def remove(self, container_id: str) -> None:
        box = self.host.boxes.get(container_id)
        if box is not None and self.is_reachable:
            self._judge_removal(box.seen, box.instance)
        super().remove(container_id)

    def _judge_removal(self, found: Container, instance: str) -> None:
        self.note_outcomes()
        if instance != self.instance:
            self.faults.append(f"removed a foreign container {found.name}")
        if found.is_live:
            self.faults.append(f"removed the live container of {run_of(found)}")
        if found.started_at is None:
            return
        status = self._recorded.read(found.job)
        runs = status.status.attempts if status else ()
        recorded = [a for a in runs if (found.job, a.generation, a.attempt) == run_of(found)]
        if not recorded or recorded[0].is_open:
            self.faults.append(f"removed {run_of(found)} before its outcome was recorded")

    def forget(self, job: str) -> None:
        """The job was deleted with all that was known of it: another of that name begins anew."""
        self.history = [run for run in self.history if run[0] != job]
        self.outcomes = {run: ended for run, ended in self.outcomes.items() if run[0] != job}

    def note_outcomes(self) -> None:
        """Take note of how containers ended, before they are removed."""
        with self.host.changed:
            self.host.settle()
        for box in self._own():
            if box.seen.has_ended:
                self.outcomes[run_of(box.seen)] = (box.seen.exit_code, box.seen.oom_killed)


def run_of(found: Container) -> Run:
    """Which run a container is."""
    return found.job, found.generation, found.attempt
