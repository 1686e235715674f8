"""Verdicts are told, deletions are guarded, and only what needs it is looked at."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.unit.simulation import Simulation, document

from opeva_operator.specwatch import held
from opeva_specs.wanted import Absent

NAMES = [f"j{number}" for number in range(10)]

GUARD = [
    pytest.param(10, 3, 0, False, id="three of ten"),
    pytest.param(3, 3, 0, False, id="three of three: fewer than four"),
    pytest.param(8, 4, 0, False, id="half of eight: not more than half"),
    pytest.param(7, 4, 0, True, id="four of seven"),
    pytest.param(4, 4, 0, True, id="four of four"),
    pytest.param(10, 10, 0, True, id="all"),
    pytest.param(10, 2, 2, True, id="some held ones came back: the rest stay held"),
    pytest.param(0, 0, 0, False, id="nothing active"),
]


@pytest.mark.parametrize(("active", "lost", "before", "is_held"), GUARD)
def test_many_at_once_are_held(active: int, lost: int, before: int, is_held: bool) -> None:
    found = held(NAMES[:active], NAMES[:lost], NAMES[:lost], NAMES[:before])
    assert found == (frozenset(NAMES[:lost]) if is_held else frozenset())


def test_one_that_goes_later_is_not_held_with_those_before() -> None:
    assert held(NAMES, ["j0", "j1", "j9"], ["j0", "j1", "j9"], ["j0", "j1"]) == {"j0", "j1"}


def test_one_of_which_nobody_can_tell_now_stays_held() -> None:
    assert held(NAMES, [], ["j0"], ["j0", "j1"]) == {"j0"}


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "data")


def test_a_verdict_is_told_with_place_and_words_and_taken_back_when_it_is_mended(s: Simulation) -> None:
    s.write("sub/a.yaml", "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: a}\nspec: {imag: x}\n")
    s.run()
    told = s.rejected("sub/a.yaml")
    assert told[0]["field"] == "spec.imag"
    assert (told[0]["line"], told[0]["reason"]) == (4, "UnknownField")
    assert "'image'" in told[0]["message"]
    s.drop("a", file="sub/a.yaml")
    s.run()
    assert s.rejected("sub/a.yaml") == []


def test_a_verdict_of_before_a_restart_is_taken_back_when_its_file_is_gone(s: Simulation) -> None:
    s.write("a.yaml", "kind: [\n")
    s.run()
    s.is_deaf = True
    s.remove("a.yaml")
    s.restart()
    s.wait(31)
    assert s.rejected("a.yaml") == []


def test_an_ended_job_is_not_looked_at_again_because_a_scan_found_its_file_unchanged(s: Simulation) -> None:
    s.drop("a")
    s.run()
    s.finish("a")
    s.wait(2)
    s.restart()
    s.wait(1)
    before = len(s.fate.met)
    s.operator._specs.scan()
    s.run()
    assert s.fate.met[before:] == []


def test_a_file_that_vanished_while_no_operator_ran_is_noticed_by_the_ended_job(s: Simulation) -> None:
    s.drop("a")
    s.run()
    s.finish("a")
    s.wait(2)
    s.is_deaf = True
    s.remove("a.yaml")
    s.restart()
    s.wait(2)
    conditions = {c.type: c.status for c in s.status("a").status.conditions}
    assert conditions["SpecPresent"] == "False"


def test_a_duplicate_is_told_in_the_file_that_does_not_keep_the_name(s: Simulation) -> None:
    s.drop("a")
    s.run()
    s.write("copy.yaml", document("a"))
    s.run()
    assert [error["reason"] for error in s.rejected("copy.yaml")] == ["DuplicateName"]
    assert s.rejected("a.yaml") == []
    s.remove("a.yaml")
    s.run()
    assert s.rejected("copy.yaml") == []


def test_a_verdict_that_cannot_be_taken_back_now_stops_no_scan(s: Simulation) -> None:
    s.write("a.yaml", "kind: [\n")
    s.run()
    real = s.operator._volume.remove

    def full(relative: str, *, durable: bool = False) -> None:
        if relative.startswith("rejected/"):
            raise OSError(30, "Read-only file system")
        real(relative, durable=durable)

    object.__setattr__(s.operator._volume, "remove", full)
    s.drop("a")
    s.run()
    assert s.phase("a") == "Running Running"


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_git_at_work_neither_frees_what_is_held_nor_forgets_what_was_confirmed(
    s: Simulation, is_confirmed: bool
) -> None:
    lock = s.volume.specs / "team/.git/index.lock"
    lock.parent.mkdir(parents=True)
    s.restart(max_concurrent_jobs=9)
    for name in NAMES[:4]:
        s.drop(name, file=f"team/{name}.yaml")
    s.run()
    for name in NAMES[:4]:
        s.remove(f"team/{name}.yaml")
    s.wait(60)
    assert s.operator._specs.held == frozenset(NAMES[:4])
    if is_confirmed:
        (s.volume.control / "confirm-deletions").touch()
    for name in NAMES[4:8]:  # now the lost ones are no more than half
        s.drop(name)
    s.run()
    s.operator._specs.guard()
    lock.touch()
    os.utime(lock, (s.clock().timestamp(),) * 2)
    s.operator._specs.guard()
    lock.unlink()
    s.operator.resync()
    s.run()
    assert s.operator._specs.held == (frozenset() if is_confirmed else frozenset(NAMES[:4]))
    assert {s.status(name).status.phase for name in NAMES[:4]} == {"Stopped" if is_confirmed else "Running"}


def test_what_the_files_say_and_what_is_held_are_of_one_moment(s: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES[:5]:
        s.drop(name)
    s.run()
    for name in NAMES[:5]:
        s.remove(f"{name}.yaml")
    s.run()
    watch = s.operator._specs
    assert "j0" in watch.held
    ask = watch._store.answer

    def files_come_back_meanwhile(*question: Any) -> Any:
        """Another thread believes the files that are back, as soon as it may."""
        answer = ask(*question)
        other = threading.Thread(target=lambda: (watch._lock.acquire(), setattr(watch, "held", frozenset())))
        other.daemon = True
        other.start()
        other.join(0.3)
        return answer

    monkeypatch.setattr(watch._store, "answer", files_come_back_meanwhile)
    wanted, is_held = watch.look_up("j0", "j0.yaml", s.clock())
    assert isinstance(wanted, Absent)
    assert is_held
