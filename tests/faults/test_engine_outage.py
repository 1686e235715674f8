"""The engine frozen, killed, restarted: no outcome is guessed, and what is not known is told as not known."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.private_engine import PrivateEngine
from tests.e2e.harness import Site
from tests.e2e.jobs import SLEEP

pytestmark = pytest.mark.docker

BRIEF = "sleep 4; echo over >> /data/ledger/over; exit 7"
COUNTS = "n=0; while :; do echo line $n; n=$((n+1)); sleep 0.2; done"


@pytest.fixture
def engine(request: pytest.FixtureRequest, busybox: str) -> Iterator[PrivateEngine]:
    """An engine of the test's own; its options are the parameters of the mark `engine`."""
    private = PrivateEngine(*getattr(request, "param", ()))
    try:
        private.start()
        private.load(busybox)
        yield private
    finally:
        private.close()


@pytest.fixture
def away(tmp_path: Path, engine: PrivateEngine) -> Iterator[Site]:
    """A site on that engine, with a job that goes on and one that soon ends."""
    site = Site(tmp_path / "volume", "none", docker_host=engine.host, OPEVA_ENGINE_TIMEOUT_SECONDS="2")
    try:
        site.start()
        site.run("live", SLEEP)
        site.until("live", "Running")
        site.run("brief", BRIEF)
        site.until("brief", "Running")
        yield site
    finally:
        site.kill()
        site.client.close()


def until_told(site: Site, reachable: str) -> None:
    """Wait until the status of the live job tells whether the engine answers."""
    site.until_true(
        lambda: site.status("live").condition("EngineReachable") == reachable, f"EngineReachable={reachable}"
    )


def held_true(site: Site) -> None:
    """While nobody knows, the last truth stands."""
    until_told(site, "False")
    site.until_true((site.root / "ledger/over").exists, "the brief job is over")
    time.sleep(1)
    for name in ("live", "brief"):
        assert site.status(name).phase == "Running", site.explain(name)
    site.until_true(lambda: site.operator()["engine"]["reachable"] is False, "the heartbeat tells it too")


def test_a_frozen_engine_ends_no_job(away: Site, engine: PrivateEngine) -> None:
    engine.send(signal.SIGSTOP)
    try:
        held_true(away)
        away.run("meanwhile")
        away.until("meanwhile", "Queued", "EngineUnreachable")
    finally:
        engine.send(signal.SIGCONT)
    told = away.until("brief", "Failed", "ExitNonZero")
    assert told.attempt["exitCode"] == 7
    until_told(away, "True")
    away.until_ended("meanwhile")
    assert away.status("live").phase == "Running"
    assert {name: away.runs(name) for name in ("live", "brief", "meanwhile")} == {"live": 1, "brief": 1, "meanwhile": 1}


@pytest.mark.parametrize("restarted", [False, True], ids=["same-operator", "new-operator"])
def test_a_killed_engine_costs_only_what_it_killed(away: Site, engine: PrivateEngine, restarted: bool) -> None:
    engine.stop(signal.SIGKILL)
    held_true(away)
    if restarted:
        away.kill()
        away.start(synced=False)
    engine.start()
    assert away.until("brief", "Failed", "ExitNonZero").attempt["exitCode"] == 7
    told = away.until("live", "Failed", "EngineRestart")
    assert told.attempt["exitCode"] in (137, 143)
    assert told.attempt["oomKilled"] is False
    away.run("later")
    away.until_ended("later")
    assert {name: away.runs(name) for name in ("live", "brief", "later")} == {"live": 1, "brief": 1, "later": 1}


@pytest.mark.parametrize("engine", [("--live-restore",)], indirect=True, ids=["live-restore"])
def test_an_engine_that_restores_its_containers_costs_nothing(away: Site, engine: PrivateEngine) -> None:
    away.run("counts", COUNTS)
    away.until("counts", "Running")
    container = away.container("live")
    engine.stop(signal.SIGKILL)
    held_true(away)
    engine.start()
    until_told(away, "True")
    assert away.until("brief", "Failed", "ExitNonZero").attempt["exitCode"] == 7
    time.sleep(1)
    assert (away.status("live").outcome, away.container("live")) == (("Running", "Running"), container)
    away.wish("counts", "stop")
    away.until("counts", "Stopped")
    lines = (away.root / "jobs/counts/logs/container.log").read_text().splitlines()
    assert lines == [f"line {number}" for number in range(len(lines))]
    assert len(lines) > 20
    assert (away.runs("live"), away.runs("counts")) == (1, 1)


def test_an_engine_that_is_shut_down_in_order_fails_its_jobs_by_its_restart(away: Site, engine: PrivateEngine) -> None:
    engine.stop(signal.SIGTERM)
    until_told(away, "False")
    engine.start()
    told = away.until("live", "Failed")
    assert told.reason == "EngineRestart", away.explain("live")
    assert away.runs("live") == 1


def test_the_next_run_waits_while_the_last_one_may_still_be_going(away: Site, engine: PrivateEngine) -> None:
    engine.send(signal.SIGSTOP)
    try:
        until_told(away, "False")
        away.run("live", f"echo new; {SLEEP}")
        told = away.until("live", "Running", "PreviousRunUnknown")
        assert told.generation == 1
        away.wish("brief", "stop")
    finally:
        engine.send(signal.SIGCONT)
    told = away.until("live", "Running", generation=2)
    assert [a["reason"] for a in told.attempts[:1]] == ["Superseded"]
    assert away.runs("live") == 2
    away.until_ended("brief")
