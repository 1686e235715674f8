"""What is known of Docker hosts: unknown is not absent, one host keeps no other waiting, and threads may meet."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.machines import Fleet

from opeva_operator import hosts as hosts_module
from opeva_operator.engine import Container, ContainerSpec, EngineError, EngineUnreachable
from opeva_operator.enginewatch import EngineWatch
from opeva_operator.hosts import Found, Host
from opeva_operator.roster import Roster
from opeva_operator.situation import Unreachable
from opeva_operator.testing import FakeEngine
from opeva_specs.admission import Line
from opeva_specs.settings import Settings

AWAY = EngineUnreachable("no answer")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "volume", "tower")


@pytest.fixture
def tower(fleet: Fleet) -> Host:
    """The other host, which has answered once."""
    host = fleet.hosts.get("tower")
    assert host is not None
    host.list_containers()
    host.look()
    fleet.woken.clear()
    return host


def run(engine: FakeEngine, job: str) -> str:
    """Let a container of that job run; its id."""
    engine.have_image("sim")
    made = engine.create(
        ContainerSpec(
            name=f"c-{job}", job=job, generation=1, attempt=1, digest="", image="sim", command=None, args=(), env={},
            network="none",
        )
    )  # fmt: skip
    engine.start(made)
    return made


def watch_of(host: Host, *jobs: str) -> EngineWatch:
    roster = Roster(Line({}, per_user=None, max_bypass=1), Settings(shared_data=Path("/")).default_demand, print)
    return EngineWatch(host, roster, lambda name: None, threading.Event())


def at_once(host: Host, *questions: Callable[[], object]) -> None:
    """Ask all of them at the same time, and wait for the answers."""
    threads = [threading.Thread(target=question) for question in questions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


# -- unknown is not absent -----------------------------------------------------------------------------------------


def test_a_host_that_was_not_asked_yet_says_nothing_of_its_containers(fleet: Fleet) -> None:
    host = fleet.hosts.get("tower")
    assert host is not None
    found = host.find("a", "c-a")
    assert isinstance(found, Unreachable)
    assert found.message == "host 'tower': not asked yet"
    assert fleet.engines["tower"].calls == []


def test_a_container_tells_where_it_is(fleet: Fleet, tower: Host) -> None:
    run(fleet.engines["tower"], "a")
    listed = tower.list_containers()
    found = tower.find("a", "c-a")
    assert isinstance(found, Container)
    assert (found.host, [one.host for one in listed]) == ("tower", ["tower"])
    assert fleet.hosts.of_container(found) is tower


def test_who_has_no_container_is_not_asked_for(fleet: Fleet, tower: Host) -> None:
    fleet.engines["tower"].calls.clear()
    assert tower.find("a", "c-a") is None
    assert fleet.engines["tower"].calls == []


def test_a_host_that_went_away_says_nothing_of_those_that_had_no_container_either(fleet: Fleet, tower: Host) -> None:
    fleet.engines["tower"].is_reachable = False
    run_seen = tower.find("a", "c-a", surely=True)
    assert isinstance(run_seen, Unreachable)
    assert isinstance(tower.find("b", "c-b"), Unreachable)


def test_nobody_hears_that_a_run_is_gone_while_another_finds_out_that_the_host_does_not_answer(
    fleet: Fleet, tower: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between the call that timed out and the note of it, another worker asked for its own job.
    run(fleet.engines["tower"], "a")
    run(fleet.engines["tower"], "b")
    tower.list_containers()
    monkeypatch.setattr(hosts_module, "SLOW", 0.0)
    fleet.engines["tower"].is_reachable = False
    meanwhile: list[Found] = []
    lost = tower.lost

    def late(error: EngineError) -> Unreachable:
        meanwhile.append(tower.find("b", "c-b"))
        return lost(error)

    monkeypatch.setattr(tower, "lost", late)
    assert isinstance(tower.find("a", "c-a"), Unreachable)
    assert isinstance(meanwhile[0], Unreachable)


def test_what_is_made_while_the_first_listing_is_under_way_is_not_deemed_gone(fleet: Fleet) -> None:
    local, engine = fleet.hosts.local, fleet.engines["local"]
    listed = engine.list

    def slow_list() -> list[Container]:
        found = listed()  # and in this moment a worker creates
        local.expect("a")
        run(engine, "a")
        return found

    engine.list = slow_list  # type: ignore[method-assign]
    local.list_containers()
    assert isinstance(local.find("a", "c-a"), Container)


def test_a_run_of_a_host_that_is_not_named_any_more_is_unknown_unless_it_is_found_elsewhere(
    fleet: Fleet, tower: Host
) -> None:
    status = _status_on("gone")
    found = fleet.hosts.find("a", status, "c-a")
    assert isinstance(found, Unreachable)
    assert "'gone'" in found.message
    run(fleet.engines["tower"], "a")  # the same machine under another name
    tower.list_containers()
    found = fleet.hosts.find("a", status, "c-a")
    assert isinstance(found, Container)
    assert found.host == "tower"


def _status_on(host: str) -> Any:
    class Attempt:
        is_open = True

    class Observed:
        pass

    attempt, observed, status = Attempt(), Observed(), Observed()
    attempt.host = observed.host = host  # type: ignore[attr-defined]
    status.attempt, status.status = attempt, observed  # type: ignore[attr-defined]
    return status


# -- a host that keeps others waiting ------------------------------------------------------------------------------


def test_after_a_ping_that_timed_out_no_worker_asks(fleet: Fleet, tower: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    run(fleet.engines["tower"], "a")
    tower.list_containers()
    monkeypatch.setattr(hosts_module, "SLOW", 0.0)
    fleet.engines["tower"].is_reachable = False
    with pytest.raises(EngineUnreachable):
        tower.ping()
    tower.lost(AWAY)
    fleet.engines["tower"].calls.clear()
    assert isinstance(tower.find("a", "c-a"), Unreachable)
    assert fleet.engines["tower"].calls == []


def test_a_host_that_refuses_at_once_is_asked_again_by_anybody(fleet: Fleet, tower: Host) -> None:
    run(fleet.engines["tower"], "a")
    tower.list_containers()
    fleet.engines["tower"].is_reachable = False
    assert isinstance(tower.find("a", "c-a"), Unreachable)
    fleet.engines["tower"].is_reachable = True
    fleet.clock.advance(60)
    assert isinstance(tower.find("a", "c-a"), Container)
    assert tower.trouble is None
    assert fleet.woken == ["tower"]


# -- whether jobs may run there ------------------------------------------------------------------------------------


def test_a_host_gives_places_only_once_it_showed_our_volume(fleet: Fleet) -> None:
    tower = fleet.hosts.get("tower")
    assert tower is not None
    record = fleet.volume.root / "state/instance.json"
    ours = record.read_text()
    record.write_text('{"id": "theirs"}')
    tower.look()
    assert tower.facts.unusable is not None
    assert "another operator (id theirs)" in tower.facts.unusable
    assert fleet.capacities.get("tower") is None
    record.write_text(ours)
    tower.look()
    assert tower.facts.unusable is None
    assert fleet.capacities["tower"].cpu == 64 * 10**9


def test_jobs_are_woken_when_a_host_is_usable_again_with_the_capacity_it_had(fleet: Fleet, tower: Host) -> None:
    tower.doubt()
    assert tower.facts.unusable is not None
    tower.look()
    assert tower.facts.unusable is None
    assert fleet.woken == ["tower"]


def test_two_threads_that_look_at_once_do_not_remove_each_others_probe(fleet: Fleet, tower: Host) -> None:
    engine, inside, met = fleet.engines["tower"], threading.Lock(), []

    def probe(folder: str, path: str) -> bytes | None:
        is_alone = inside.acquire(blocking=False)
        met.append(is_alone)
        time.sleep(0.05)
        if is_alone:
            inside.release()
        return b'{"id": "ours"}' if is_alone else None

    engine.read_file = probe  # type: ignore[method-assign]
    tower.doubt()
    at_once(tower, tower.look, tower.look, tower.look)
    assert met == [True]
    assert tower.facts.unusable is None


def test_a_doubt_that_comes_up_during_a_look_stays(fleet: Fleet, tower: Host) -> None:
    engine = fleet.engines["tower"]
    tower.doubt()
    gate = engine.hold("read_file")
    look = threading.Thread(target=tower.look)
    look.start()
    while ("read_file", str(fleet.volume.root), "state/instance.json") not in engine.calls[1:]:
        time.sleep(0.001)
    doubt = threading.Thread(target=tower.doubt)
    doubt.start()
    gate.set()
    look.join(10)
    doubt.join(10)
    assert tower.facts.unusable is not None


def test_the_clock_of_a_host_is_compared_with_ours_in_the_middle_of_the_question(fleet: Fleet, tower: Host) -> None:
    engine = fleet.engines["tower"]
    engine.host.clock_offset = timedelta(seconds=7)
    info = engine.info

    def slow() -> Any:
        fleet.clock.advance(2)
        told = info()
        fleet.clock.advance(2)
        return told

    engine.info = slow  # type: ignore[method-assign]
    tower.look()
    assert tower.facts.clock_offset == timedelta(seconds=7)


@pytest.mark.parametrize(("name", "boot_id"), [("local", "boot-1"), ("tower", "boot-1")])
def test_hosts_of_this_machine_know_its_boot(fleet: Fleet, name: str, boot_id: str) -> None:
    host = fleet.hosts.get(name)
    assert host is not None
    assert host.boot_id() == boot_id


# -- the threads that ask ------------------------------------------------------------------------------------------


class _Turns:
    """Stands for the event that ends a loop: set after so many looks."""

    def __init__(self, turns: int) -> None:
        self._left = turns

    def wait(self, timeout: float) -> bool:
        self._left -= 1
        return self._left < 0


def test_whatever_an_engine_tells_its_thread_goes_on_asking(fleet: Fleet, tower: Host) -> None:
    engine = fleet.engines["tower"]
    tower.facts.info = None
    engine.fail("info", KeyError("NCPU"))
    watch = watch_of(tower)
    watch._stopping = _Turns(3)  # type: ignore[assignment]
    watch.ask()
    assert [call for (call, *_) in engine.calls].count("ping") == 4 - 1
    assert tower.trouble is None


def test_a_listing_that_is_wanted_is_made_by_the_hosts_own_thread(fleet: Fleet, tower: Host) -> None:
    engine = fleet.engines["tower"]
    watch = watch_of(tower)
    engine.calls.clear()
    watch.want_listing()
    assert engine.calls == []
    watch._stopping = _Turns(1)  # type: ignore[assignment]
    watch.ask()
    assert ("list",) in engine.calls


def test_a_host_that_comes_back_is_probed_before_jobs_run_there(fleet: Fleet, tower: Host) -> None:
    engine = fleet.engines["tower"]
    watch = watch_of(tower)
    engine.is_reachable = False
    watch._stopping = _Turns(1)  # type: ignore[assignment]
    watch.ask()
    assert tower.trouble is not None
    (fleet.volume.root / "state/instance.json").unlink()
    engine.is_reachable = True
    watch._stopping = _Turns(1)  # type: ignore[assignment]
    watch.ask()
    assert tower.trouble is None
    assert "there is no state/instance.json" in (tower.facts.unusable or "")
    assert fleet.capacities["tower"] is None
