"""Hosts: unknown is not absent, a slow one keeps nobody else, and none is used that does not show our volume."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.machines import Fleet
from tests.unit.situations import running, status

from opeva_operator import hosts as module
from opeva_operator.engine import Container, ContainerSpec, EngineError, EngineInfo, EngineUnreachable
from opeva_operator.enginewatch import EngineWatch
from opeva_operator.hosts import Host
from opeva_operator.probing import capacity_of, unusable
from opeva_operator.roster import Roster
from opeva_operator.situation import Unreachable
from opeva_operator.testing import FakeClock, FakeEngine
from opeva_specs.admission import Capacity, Line
from opeva_specs.hostsfile import HostCapacity, HostEntry
from opeva_specs.settings import Settings
from opeva_specs.status import JobStatus, changed
from opeva_specs.terms import Demand

NAME = "opeva-ours-job"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """The operator's own host and a tower, both listed and looked at."""
    fleet = Fleet(tmp_path, "tower")
    for host in fleet.hosts:
        host.list_containers()
        host.look()
    fleet.woken.clear()
    return fleet


def _tower(fleet: Fleet) -> Host:
    found = fleet.hosts.get("tower")
    assert found is not None
    return found


def _put(fleet: Fleet, host: str) -> str:
    engine = fleet.engines[host]
    engine.have_image("sim")
    return engine.create(
        ContainerSpec(
            name=NAME, job="job", generation=1, attempt=1, digest="", image="sim", command=None, args=(), env={},
            network="none",
        )
    )  # fmt: skip


def _on(host: str, told: JobStatus) -> JobStatus:
    attempts = tuple(changed(attempt, host=host) for attempt in told.status.attempts)
    moved: JobStatus = changed(told, status=changed(told.status, host=host, attempts=attempts))
    return moved


# -- where a job's container is ----------------------------------------------------------------------------------------


def test_a_job_is_looked_for_where_it_runs(fleet: Fleet) -> None:
    container_id = _put(fleet, "tower")
    _tower(fleet).expect("job")
    found = fleet.hosts.find("job", _on("tower", running()), NAME)
    assert isinstance(found, Container)
    assert (found.id, found.host) == (container_id, "tower")
    assert fleet.hosts.of_container(found).name == "tower"


def test_the_open_attempt_tells_where_and_not_what_the_next_one_wants(fleet: Fleet) -> None:
    told = _on("tower", running())
    next_is_local = changed(told, status=changed(told.status, host="local"))
    assert fleet.hosts.of(next_is_local) is _tower(fleet)
    ended = changed(told.status.attempts[0], reason="Completed")
    is_over = changed(told, status=changed(told.status, host="local", attempts=(ended,)))
    assert fleet.hosts.of(is_over) is fleet.hosts.local


@pytest.mark.parametrize("told", [None, status()], ids=["unknown job", "queued job"])
def test_a_container_on_another_host_is_found_though_nobody_expects_it_there(
    fleet: Fleet, told: JobStatus | None
) -> None:
    _put(fleet, "tower")
    _tower(fleet).list_containers()
    found = fleet.hosts.find("job", told, NAME)
    assert isinstance(found, Container) and found.host == "tower"


def test_a_container_on_a_host_that_went_silent_is_unknown_and_not_absent(fleet: Fleet) -> None:
    _put(fleet, "tower")
    _tower(fleet).list_containers()
    fleet.engines["tower"].is_reachable = False
    for told in (None, status(), _on("tower", running())):
        found = fleet.hosts.find("job", told, NAME)
        assert isinstance(found, Unreachable) and "'tower'" in found.message


def test_a_host_that_is_away_hinders_no_job_that_never_was_there(fleet: Fleet) -> None:
    fleet.engines["tower"].is_reachable = False
    _tower(fleet).lost(EngineUnreachable("no answer"))
    assert fleet.hosts.find("job", status(), NAME) is None


def test_a_run_on_a_host_that_is_not_in_the_file_any_more_is_unknown_and_not_absent(fleet: Fleet) -> None:
    found = fleet.hosts.find("job", _on("gone", running()), NAME)
    assert isinstance(found, Unreachable) and "'gone'" in found.message
    assert fleet.hosts.of(_on("gone", running())) is None


def test_a_job_that_never_ran_and_names_an_unknown_host_has_no_container(fleet: Fleet) -> None:
    assert fleet.hosts.find("job", _on("gone", status()), NAME) is None


# -- slow and silent ones ----------------------------------------------------------------------------------------------


def test_a_host_that_was_never_reached_is_asked_by_its_own_thread_only(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "tower")
    assert isinstance(fleet.hosts.find("job", _on("tower", status()), NAME), Unreachable)
    assert fleet.engines["tower"].calls == []


def test_silence_is_met_by_nobody_but_the_thread_that_asks(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    tower, engine = _tower(fleet), fleet.engines["tower"]
    engine.is_reachable = False
    monkeypatch.setattr(module, "SLOW", 0.0)
    with pytest.raises(EngineUnreachable):
        tower.ping()
    tower.lost(EngineUnreachable("silence"))
    tower.expect("job")
    asked = len(engine.calls)
    assert isinstance(tower.find("job", NAME), Unreachable)
    assert len(engine.calls) == asked
    engine.is_reachable = True
    tower.ping()
    tower.answers()
    assert tower.find("job", NAME) is None


def test_a_host_that_answers_again_has_its_jobs_looked_at_but_not_all_the_time(fleet: Fleet) -> None:
    tower = _tower(fleet)
    fleet.clock.advance(10)
    tower.lost(EngineUnreachable("no answer"))
    tower.answers()
    assert (fleet.woken, fleet.woken_later) == (["tower"], [])
    fleet.clock.advance(1)
    tower.lost(EngineUnreachable("no answer"))
    tower.answers()
    assert (fleet.woken, fleet.woken_later) == (["tower"], ["tower"])


def _roster() -> Roster:
    return Roster(Line({}), Demand(), lambda name: None)


# -- whether it may be used --------------------------------------------------------------------------------------------


def test_a_host_gives_nothing_before_it_showed_our_volume(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "tower")
    tower = _tower(fleet)
    tower.list_containers()
    assert fleet.capacities == {}
    assert tower.facts.unusable is not None
    tower.look()
    assert tower.facts.unusable is None
    assert fleet.capacities["tower"] == Capacity(jobs=64, cpu=64 * 10**9, memory=2**40, gpu=0)
    assert fleet.woken[-1] == "tower"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "there is no state/instance.json in {root} there: mount the shared volume", id="nothing"),
        pytest.param('{"id": "theirs"}', "{root} there is the volume of another operator (id theirs)", id="another"),
        pytest.param("[]", "{root}/state/instance.json there is not what this operator wrote", id="no id"),
        pytest.param("{", "{root}/state/instance.json there is not what this operator wrote", id="torn"),
    ],
)
def test_what_was_looked_for_and_where_is_told(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state/instance.json").write_text(text)
    found = unusable(FakeEngine(), str(tmp_path), "ours")
    assert found is not None and found.startswith(words.format(root=tmp_path))


def test_an_engine_that_refuses_the_look_is_unusable_and_one_that_is_silent_is_unknown(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.fail("read_file", EngineError("mounts denied"))
    assert "mounts denied" in str(unusable(engine, str(tmp_path), "ours"))
    engine.fail("read_file", EngineUnreachable("no answer"))
    with pytest.raises(EngineUnreachable):
        unusable(engine, str(tmp_path), "ours")


class _Once(threading.Event):
    """Set at the second look: a loop that waits for it turns once."""

    def wait(self, timeout: float | None = None) -> bool:
        was_set = self.is_set()
        self.set()
        return was_set


def test_a_host_that_was_away_is_looked_at_anew_and_gives_nothing_when_its_volume_is_another(fleet: Fleet) -> None:
    tower = _tower(fleet)
    tower.lost(EngineUnreachable("no answer"))
    fleet.volume.write("state/instance.json", b'{"id": "theirs"}', durable=False)
    watch = EngineWatch(tower, _roster(), fleet.woken.append, _Once())
    watch.ask()
    assert "another operator" in str(tower.facts.unusable)
    assert fleet.capacities["tower"] is None
    fleet.volume.write("state/instance.json", b'{"id": "ours"}', durable=False)
    tower.look()
    assert fleet.capacities["tower"] == Capacity(jobs=64, cpu=64 * 10**9, memory=2**40, gpu=0)


@pytest.mark.parametrize("is_new", [True, False], ids=["first contact", "back again"])
def test_jobs_that_hear_that_a_host_answers_find_it_usable(tmp_path: Path, is_new: bool) -> None:
    fleet = Fleet(tmp_path, "tower")
    tower = _tower(fleet)
    if not is_new:
        tower.look()
        tower.list_containers()
        fleet.clock.advance(60)
        tower.lost(EngineUnreachable("no answer"))
    found: list[str | None] = []

    def wake_all(host: str, after_seconds: float) -> None:
        if tower.trouble is None:
            found.append(tower.facts.unusable)

    tower._parts = replace(tower._parts, wake_all=wake_all)
    EngineWatch(tower, _roster(), fleet.woken.append, _Once()).ask()
    assert found and set(found) == {None}


def test_a_look_that_meets_silence_keeps_the_others_from_asking(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    tower, engine = _tower(fleet), fleet.engines["tower"]
    tower.expect("job")
    monkeypatch.setattr(module, "SLOW", 0.0)
    engine.fail("info", EngineUnreachable("no answer"))
    with pytest.raises(EngineUnreachable):
        tower.look()
    assert isinstance(tower.find("job", NAME), Unreachable)
    assert ("find", NAME) not in engine.calls


def test_images_are_asked_for_now_and_then_and_after_one_was_pulled(fleet: Fleet) -> None:
    tower, engine = _tower(fleet), fleet.engines["tower"]
    tower.look_at_images(60)
    tower.look_at_images(60)
    assert engine.calls.count(("images",)) == 1
    engine.host.registry["fresh:1"] = "sha256:fresh"
    tower.pulls.want("fresh:1", "job")
    deadline = time.monotonic() + 5
    while "job" not in fleet.woken and time.monotonic() < deadline:
        time.sleep(0.01)
    tower.look_at_images(60)
    assert [(tag.name, tag.digest) for tag in tower.facts.images] == [("fresh:1", "sha256:fresh")]


# -- what it gives -----------------------------------------------------------------------------------------------------

INFO = EngineInfo(id="x", cpus=2, memory=8 * 2**30, gpus=1, at=FakeClock()())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, Capacity(jobs=4, cpu=2 * 10**9, memory=8 * 2**30, gpu=1), id="as the engine tells"),
        pytest.param({"cpu": "500m", "memory": "1Gi", "jobs": 2, "gpu": 0}, Capacity(2, 5 * 10**8, 2**30), id="less"),
        pytest.param({"cpu": "64", "memory": "1Ti"}, Capacity(4, 2 * 10**9, 8 * 2**30, 1), id="never more than it has"),
        pytest.param({"gpu": 3}, Capacity(4, 2 * 10**9, 8 * 2**30, 3), id="GPUs may be stated"),
    ],
)  # fmt: skip
def test_capacity_is_what_there_is_and_no_more_than_granted(given: dict[str, str], expected: Capacity) -> None:
    entry = HostEntry(name="tower", url="unix:///x", shared_data="/d", capacity=HostCapacity.model_validate(given))
    assert capacity_of(entry, INFO, Settings(max_concurrent_jobs=9, cpus=0.1)) == expected


def test_of_its_own_host_the_settings_grant_less_too() -> None:
    settings = Settings(max_concurrent_jobs=9, cpus=1.5, memory=2**30, gpus=2)
    own = HostEntry(name="local")
    assert capacity_of(own, INFO, settings) == Capacity(9, 1_500_000_000, 2**30, 2)
    tighter = HostEntry(name="local", capacity=HostCapacity(cpu="1", jobs=3))
    assert capacity_of(tighter, INFO, settings) == Capacity(3, 10**9, 2**30, 2)
    assert capacity_of(own, INFO, Settings(max_concurrent_jobs=5)) == Capacity(5, 2 * 10**9, 8 * 2**30, 1)
