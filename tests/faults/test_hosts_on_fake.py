"""Jobs on several hosts, on the whole operator with fake engines that go away, come back, or outlive the operator."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.unit.simulation import Simulation

from opeva_operator.engine import ContainerSpec, EngineUnreachable
from opeva_operator.testing import FakeRun
from opeva_specs.status import condition_of


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "data", hosts=("tower", "attic"))


def on(s: Simulation, host: str, name: str = "a", **spec: Any) -> None:
    """A job that runs there."""
    s.drop(name, targetHost=host, **spec)
    s.wait(1)
    assert (s.phase(name), s.places(name)) == ("Running Running", [host])


def until(s: Simulation, is_so: Callable[[], bool], seconds: int = 200) -> None:
    s.run()
    for _ in range(seconds):
        if is_so():
            return
        s.wait(1)
    raise AssertionError(f"not so after {seconds} s")


def blockers(s: Simulation, name: str = "a") -> list[str]:
    return [str(blocker.kind) for blocker in s.status(name).status.blockers]


def starts(s: Simulation) -> dict[str, list[str]]:
    """Which jobs each host has started."""
    return {host: engine.starts for host, engine in s.engines.items() if engine.starts}


def reasons(s: Simulation, name: str = "a") -> list[str | None]:
    return [attempt.reason for attempt in s.status(name).status.attempts]


def flawless(s: Simulation) -> None:
    """Hold that no engine saw what must never happen."""
    assert [fault for engine in s.engines.values() for fault in engine.faults] == []


# -- a pin is a pin ------------------------------------------------------------------------------------------------


def test_jobs_run_on_the_host_that_they_name_and_only_there(s: Simulation) -> None:
    for name, host in (("a", "tower"), ("b", "attic"), ("c", None)):
        s.drop(name, **({"targetHost": host} if host else {}))
    s.wait(2)
    assert starts(s) == {"tower": ["a"], "attic": ["b"], "local": ["c"]}
    for name, host in (("a", "tower"), ("b", "attic"), ("c", "local")):
        assert s.status(name).status.attempts[0].host == host
        s.finish(name)
    s.wait(1)
    assert [s.phase(name) for name in "abc"] == ["Finished Completed"] * 3
    assert [len(engine.host.boxes) for engine in s.engines.values()] == [0, 0, 0]
    flawless(s)


def test_what_a_job_says_elsewhere_is_captured(s: Simulation) -> None:
    s.engines["tower"].runs["a"] = FakeRun(run_for=3, output=b"up here\n", exit_code=4)
    on(s, "tower")
    s.wait(3)
    assert (s.phase("a"), s.log("a")) == ("Failed ExitNonZero", "up here\n")
    assert s.status("a").status.attempts[0].evidence == ("up here",)


def test_each_host_has_its_own_places(tmp_path: Path) -> None:
    s = Simulation(tmp_path / "data", hosts=("tower",), max_concurrent_jobs=1)
    s.name_hosts("tower", capacity={"jobs": 2})
    s.restart()
    for number in range(3):
        s.drop(f"t{number}", targetHost="tower")
        s.drop(f"l{number}")
        s.wait(1)
    assert starts(s) == {"tower": ["t0", "t1"], "local": ["l0"]}
    assert (blockers(s, "t2"), blockers(s, "l1")) == (["AtCapacity"], ["AtCapacity"])
    s.finish("t0")
    s.wait(1)
    assert starts(s) == {"tower": ["t0", "t1", "t2"], "local": ["l0"]}


def test_a_host_that_nobody_knows_is_waited_for_until_the_file_names_it(s: Simulation) -> None:
    s.drop("a", targetHost="towre")
    s.wait(40)
    assert (s.phase("a"), blockers(s)) == ("Queued HostUnknown", ["HostUnknown"])
    assert "did you mean 'tower'?" in s.status("a").status.message
    s.drop("a", targetHost="tower")
    s.wait(1)
    assert (s.phase("a"), s.places("a")) == ("Running Running", ["tower"])


def test_a_job_waits_for_a_host_that_is_removed_and_runs_when_it_is_named_again(s: Simulation) -> None:
    s.name_hosts("attic")
    s.restart()
    s.drop("a", targetHost="tower")
    s.wait(40)
    assert s.phase("a") == "Queued HostUnknown"
    s.name_hosts("attic", "tower")
    s.restart()
    s.wait(2)
    assert (s.phase("a"), s.places("a")) == ("Running Running", ["tower"])


# -- a host that is away -------------------------------------------------------------------------------------------


def test_a_host_that_is_away_changes_no_outcome_and_keeps_no_other_waiting(s: Simulation) -> None:
    on(s, "tower")
    s.engines["tower"].is_reachable = False
    s.wait(10)
    s.drop("waits", targetHost="tower")
    s.drop("goes", targetHost="attic")
    s.drop("here")
    s.wait(300)
    assert s.phase("a") == "Running Running"
    told = condition_of(s.status("a"), "EngineReachable")
    assert told is not None and told.status == "False" and "host 'tower'" in told.message
    assert (s.phase("waits"), blockers(s, "waits")) == ("Queued EngineUnreachable", ["EngineUnreachable"])
    assert starts(s) == {"tower": ["a"], "attic": ["goes"], "local": ["here"]}
    s.finish("a", 3)
    s.engines["tower"].is_reachable = True
    until(s, lambda: s.phase("a") == "Failed ExitNonZero", 12)
    until(s, lambda: s.places("waits") == ["tower"], 12)
    flawless(s)


def test_a_run_whose_creation_was_not_answered_is_looked_for_when_its_host_is_back(s: Simulation) -> None:
    engine = s.engines["tower"]
    create = engine.create

    def created_and_away(wanted: ContainerSpec) -> str:
        create(wanted)
        engine.is_reachable = False
        raise EngineUnreachable("no answer")

    engine.create = created_and_away  # type: ignore[method-assign]
    s.drop("a", targetHost="tower")
    s.wait(100)
    assert s.phase("a") == "Starting Starting"
    s.engines["tower"].is_reachable = True
    until(s, lambda: s.phase("a") == "Running Running", 12)
    assert starts(s) == {"tower": ["a"]}


def test_an_operator_that_starts_while_a_host_is_away_is_synced_and_knows_nothing_of_its_jobs(s: Simulation) -> None:
    on(s, "tower")
    s.engines["tower"].is_reachable = False
    s.restart()
    s.run()
    s.operator._note_first("")
    assert s.operator.is_synced
    s.wait(60)
    assert s.phase("a") == "Running Running"
    s.engines["tower"].is_reachable = True
    s.finish("a")
    until(s, lambda: s.phase("a") == "Finished Completed", 12)
    assert starts(s) == {"tower": ["a"]}


def test_a_stop_reaches_a_job_when_its_host_is_back(s: Simulation) -> None:
    on(s, "tower")
    s.engines["tower"].is_reachable = False
    s.wish("a", "stop")
    s.wait(60)
    assert s.phase("a").split()[0] in ("Stopping", "Running")
    s.engines["tower"].is_reachable = True
    until(s, lambda: s.phase("a") == "Stopped StoppedByUser", 30)
    flawless(s)


def test_a_container_that_vanished_while_its_host_was_away_is_lost(s: Simulation) -> None:
    on(s, "tower")
    s.engines["tower"].is_reachable = False
    s.wait(10)
    s.engines["tower"].host.boxes.clear()
    s.engines["tower"].is_reachable = True
    until(s, lambda: s.phase("a") == "Failed ContainerLost", 12)


def test_an_engine_elsewhere_that_restarts_is_told_from_a_kill(s: Simulation) -> None:
    on(s, "tower")
    on(s, "attic", "b")
    s.engines["tower"].restart()
    s.wait(2)
    assert (s.phase("a"), s.phase("b")) == ("Failed EngineRestart", "Running Running")


# -- a job that moves ----------------------------------------------------------------------------------------------


def test_an_edit_of_the_host_ends_the_old_run_on_its_host_first(s: Simulation) -> None:
    s.engines["tower"].runs["a"] = FakeRun(ignores_term=True)
    on(s, "tower", terminationGracePeriodSeconds=10)
    s.drop("a", targetHost="attic", terminationGracePeriodSeconds=10)
    for _ in range(40):
        s.wait(1)
        assert len(s.places("a")) <= 1
    assert (s.phase("a"), s.places("a"), s.status("a").metadata.generation) == ("Running Running", ["attic"], 2)
    assert reasons(s) == ["Superseded", None]
    assert [attempt.host for attempt in s.status("a").status.attempts] == ["tower", "attic"]
    assert s.engines["tower"].host.boxes == {}
    flawless(s)


def test_a_run_that_may_still_be_going_on_a_host_that_is_away_is_not_followed_by_another(s: Simulation) -> None:
    on(s, "tower")
    s.engines["tower"].is_reachable = False
    s.drop("a", targetHost="attic")
    s.wait(120)
    assert s.phase("a") == "Running PreviousRunUnknown"
    s.restart()
    s.wait(120)
    assert (s.phase("a"), starts(s)) == ("Running PreviousRunUnknown", {"tower": ["a"]})
    s.engines["tower"].is_reachable = True
    until(s, lambda: s.places("a") == ["attic"], 60)
    assert reasons(s) == ["Superseded", None]
    flawless(s)


def test_what_never_ran_may_leave_a_host_that_is_away_at_once(s: Simulation) -> None:
    s.engines["tower"].is_reachable = False
    s.wait(10)
    s.drop("a", targetHost="tower")
    s.wait(10)
    assert s.phase("a") == "Queued EngineUnreachable"
    s.drop("a", targetHost="attic")
    s.wait(2)
    assert (s.phase("a"), s.places("a")) == ("Running Running", ["attic"])
    s.engines["tower"].is_reachable = True
    s.wait(60)
    assert starts(s) == {"attic": ["a"]}


def test_what_never_ran_may_be_deleted_while_its_host_is_away(s: Simulation) -> None:
    s.engines["tower"].is_reachable = False
    s.wait(10)
    s.drop("a", file="api/a.yaml", targetHost="tower")
    s.wait(2)
    s.wish("a", "delete")
    s.wait(2)
    assert s.phase("a") == "-"
    s.engines["tower"].is_reachable = True
    s.wait(60)
    assert (s.phase("a"), starts(s)) == ("-", {})


def test_a_run_on_a_host_that_is_removed_from_the_file_is_unknown_until_it_is_back(s: Simulation) -> None:
    on(s, "tower")
    s.name_hosts("attic")
    s.restart()
    s.wait(60)
    assert s.phase("a") == "Running Running"
    told = condition_of(s.status("a"), "EngineReachable")
    assert told is not None and told.status == "False" and "no host 'tower' any more" in told.message
    s.finish("a", 5)
    s.name_hosts("attic", "tower")
    s.restart()
    until(s, lambda: s.phase("a") == "Failed ExitNonZero", 12)
    assert starts(s) == {"tower": ["a"]}


# -- its volume ----------------------------------------------------------------------------------------------------


def test_a_host_with_another_volume_is_not_used_until_it_shows_ours(s: Simulation) -> None:
    s.engines["tower"].host_paths = {str(s.volume.root): "/elsewhere"}
    s.name_hosts("tower", sharedData="/nowhere")
    s.restart()
    s.drop("a", targetHost="tower")
    s.drop("b")
    s.wait(40)
    assert (s.phase("a"), blockers(s), s.places("b")) == ("Queued HostUnusable", ["HostUnusable"], ["local"])
    assert "there is no state/instance.json in /nowhere" in s.status("a").status.message
    s.name_hosts("tower", sharedData="/elsewhere")
    s.restart()
    s.wait(2)
    assert (s.phase("a"), s.places("a")) == ("Running Running", ["tower"])


def test_a_host_that_is_back_with_another_volume_gets_no_new_job_and_its_runs_keep_their_truth(s: Simulation) -> None:
    on(s, "tower")
    read = s.engines["tower"].read_file
    s.engines["tower"].read_file = lambda folder, path: None  # type: ignore[method-assign]
    s.engines["tower"].is_reachable = False
    s.wait(10)
    s.engines["tower"].is_reachable = True
    s.wait(10)
    s.drop("b", targetHost="tower")
    s.wait(5)
    assert (s.phase("a"), s.phase("b")) == ("Running Running", "Queued HostUnusable")
    s.engines["tower"].read_file = read  # type: ignore[method-assign]
    for watch in s.operator._engine_watches:
        watch._looked_at = float("-inf")  # a minute of the machine's own time
    until(s, lambda: s.places("b") == ["tower"], 40)


def test_hosts_are_told_with_what_they_do(s: Simulation) -> None:
    on(s, "tower")
    s.drop("waits", targetHost="tower")
    s.engines["attic"].is_reachable = False
    s.wait(10)
    s.operator._tell_rest()
    told = orjson.loads((s.volume.root / "state/hosts.json").read_bytes())
    assert {name: (row["online"], row["usable"], row["activeJobIds"]) for name, row in told.items()} == {
        "local": (True, True, []),
        "tower": (True, True, ["a", "waits"]),
        "attic": (False, False, []),
    }


# -- wherever the operator dies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, 34))
def test_wherever_the_operator_dies_a_pinned_job_runs_once_and_there(s: Simulation, step: int) -> None:
    s.crash_at(step)
    s.drop("a", targetHost="tower")
    until(s, lambda: s.places("a") == ["tower"], 60)
    s.finish("a", 3)
    until(s, lambda: s.phase("a") == "Failed ExitNonZero", 60)
    assert starts(s) == {"tower": ["a"]}
    flawless(s)


@pytest.mark.parametrize("step", range(1, 60, 2))
def test_wherever_the_operator_dies_a_move_never_has_two_runs(s: Simulation, step: int) -> None:
    on(s, "tower")
    s.drop("a", targetHost="attic")
    s.wait(4)
    s.crash_at(step)
    for _ in range(60):
        s.wait(1)
        assert len(s.places("a")) <= 1
    assert (s.places("a"), starts(s)) == (["attic"], {"tower": ["a"], "attic": ["a"]})
    assert reasons(s) == ["Superseded", None]
    flawless(s)


@pytest.mark.parametrize("step", range(1, 30, 3))
def test_wherever_the_operator_dies_while_a_host_is_away_nothing_runs_elsewhere(s: Simulation, step: int) -> None:
    on(s, "tower")
    s.engines["tower"].is_reachable = False
    s.crash_at(step)
    s.drop("b", targetHost="tower")
    s.wait(40)
    s.engines["tower"].is_reachable = True
    until(s, lambda: s.places("b") == ["tower"], 60)
    assert (s.phase("a"), starts(s)) == ("Running Running", {"tower": ["a", "b"]})
    flawless(s)
