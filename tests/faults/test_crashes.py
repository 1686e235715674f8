"""The operator killed at every moment that matters, its files taken away, its volume shared: one run, right outcome."""

import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.harness import Site, consistently, site_on
from tests.e2e.jobs import ENDED, SLEEP
from tests.faults.faultsock import Faultsock, Refused

pytestmark = pytest.mark.docker

CREATE = "POST /containers/create"
START = "POST /containers/[0-9a-f]+/start"
LAST_LOOK = r"GET /containers/[0-9a-f]+/logs\?.*follow=0"
REMOVE = "DELETE /containers/"


@pytest.fixture
def sock(tmp_path: Path) -> Iterator[Faultsock]:
    """A proxy in front of the engine."""
    with Faultsock(tmp_path / "engine.sock") as made:
        yield made


@pytest.fixture
def proxied(tmp_path: Path, network: str, sock: Faultsock) -> Iterator[Site]:
    """A site whose operator reaches the engine through the proxy only."""
    with site_on(tmp_path / "volume", network, through=sock.host) as made:
        yield made


@pytest.mark.parametrize(
    ("request_", "is_heard"),
    [
        pytest.param(CREATE, False, id="before create"),
        pytest.param(CREATE, True, id="create, its answer lost"),
        pytest.param(START, False, id="between create and start"),
        pytest.param(START, True, id="after start"),
        pytest.param(LAST_LOOK, False, id="after exit, before the final status"),
        pytest.param(REMOVE, False, id="after the final status, before remove"),
        pytest.param(REMOVE, True, id="after remove"),
    ],
)
def test_a_crash_costs_no_run_and_repeats_none(proxied: Site, sock: Faultsock, request_: str, is_heard: bool) -> None:
    killed = threading.Event()

    def kill() -> None:
        proxied.kill()
        killed.set()
        raise Refused

    if is_heard:
        sock.on(request_, after=kill)
    else:
        sock.on(request_, before=kill)
    proxied.run("once", "echo said; sleep 1; echo more; exit 3")
    assert killed.wait(30), "the operator never came to that request"
    consistently(lambda: proxied.process is None, "nobody is there", 1.5)
    proxied.start()
    told = proxied.until_ended("once")
    assert told.outcome == ("Failed", "ExitNonZero")
    assert [(a["attempt"], a["exitCode"]) for a in told.attempts] == [(1, 3)]
    proxied.until_true(lambda: proxied.containers() == [], "its container is removed")
    assert proxied.runs("once") == 1
    assert (proxied.root / "jobs/once/logs/container.log").read_text() == "said\nmore\n"


@pytest.mark.parametrize("request_", [CREATE, START, "DELETE /containers/"])
@pytest.mark.parametrize("harm", ["answer lost", "error 500"])
def test_an_engine_that_stumbles_costs_no_run_and_repeats_none(
    proxied: Site, sock: Faultsock, request_: str, harm: str
) -> None:
    rule = sock.on(request_, drops_answer=harm == "answer lost", answer=500 if harm == "error 500" else None, times=2)
    proxied.run("once", "exit 3")
    told = proxied.until_ended("once")
    assert [(a["attempt"], a["exitCode"]) for a in told.attempts] == [(1, 3)]
    proxied.until_true(lambda: proxied.containers() == [], "its container is removed")
    assert (proxied.runs("once"), rule.met >= 1) == (1, True)


def test_a_slow_engine_keeps_no_other_job_waiting(proxied: Site, sock: Faultsock) -> None:
    slow, begun = threading.Event(), threading.Event()
    sock.on(CREATE, before=lambda: void((begun.set(), slow.wait(60))))
    proxied.run("slow")
    proxied.until_true(begun.is_set, "the slow creation has begun")
    proxied.run("quick")
    proxied.until_ended("quick")
    assert proxied.status("slow").phase == "Starting"
    slow.set()
    proxied.until_ended("slow")
    assert (proxied.runs("slow"), proxied.runs("quick")) == (1, 1)


def test_an_operator_killed_again_and_again_under_load_loses_and_repeats_nothing(site: Site) -> None:
    site.restart(OPEVA_MAX_CONCURRENT_JOBS="6")
    names = {f"load-{number:02}": number % 4 for number in range(20)}
    chance = random.Random(7)
    deadline = time.monotonic() + 20
    left = iter(names.items())
    while time.monotonic() < deadline:
        for name, code in [pair for _, pair in zip(range(3), left, strict=False)]:
            site.run(name, f"sleep 0.3; echo {name}; exit {code}")
        time.sleep(chance.uniform(0.5, 1.5))
        site.kill()
        site.start(synced=False)
    site.until_true(
        lambda: all((t := site.status(name)) is not None and t.phase in ENDED for name in names), "all have ended", 90
    )
    site.until_true(lambda: site.containers() == [], "all containers are removed")
    for name, code in names.items():
        told = site.status(name)
        assert [(a["attempt"], a["exitCode"]) for a in told.attempts] == [(1, code)], site.explain(name)
        assert (site.root / f"jobs/{name}/logs/container.log").read_text() == f"{name}\n"
    assert {name: site.runs(name) for name in names} == dict.fromkeys(names, 1)


def test_a_clean_end_of_the_operator_ends_no_job(site: Site) -> None:
    site.run("live", SLEEP)
    site.until("live", "Running")
    container = site.container("live")
    begin = time.monotonic()
    site.stop()
    assert time.monotonic() - begin < 10
    site.start()
    site.until("live", "Running")
    assert (site.container("live"), site.runs("live")) == (container, 1)


# -- files taken away ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("meanwhile", ["running", "down"])
def test_without_its_status_folder_nothing_runs_again(site: Site, meanwhile: str) -> None:
    site.restart(OPEVA_MAX_CONCURRENT_JOBS="1")
    site.run("ended", "exit 3")
    site.until_ended("ended")
    site.run("stopped", SLEEP)
    site.until("stopped", "Running")
    site.wish("stopped", "stop")
    site.until_ended("stopped")
    site.run("live", SLEEP)
    site.until("live", "Running")
    site.run("queued", SLEEP)
    site.until("queued", "AtCapacity")
    container = site.container("live")
    if meanwhile == "down":
        site.kill()
    shutil.rmtree(site.root / "status")
    if meanwhile == "down":
        site.start()
    for name, outcome in {
        "ended": ("Failed", "ExitNonZero"),
        "stopped": ("Stopped", "StoppedByUser"),
        "live": ("Running", "Running"),
        "queued": ("Queued", "AtCapacity"),
    }.items():
        told = site.until(name, *outcome)
        assert told.generation == 1
    assert site.container("live") == container
    site.wish("live", "stop")
    site.until("live", "Stopped")
    site.until("queued", "Running")
    assert {name: site.runs(name) for name in ("ended", "stopped", "live", "queued")} == {
        "ended": 1,
        "stopped": 1,
        "live": 1,
        "queued": 1,
    }


# -- shared by several -----------------------------------------------------------------------------------------------


def test_two_volumes_on_one_engine_never_touch_each_other(tmp_path: Path, site: Site, network: str) -> None:
    site.run("same", SLEEP)
    site.until("same", "Running")
    stranger = site.client.create_container_from_config(
        {"Image": "opeva-test/busybox:latest", "Cmd": ["sleep", "300"], "Labels": {"opeva.io/job": "same"}},
        f"stranger-of-{site.network}",
    )["Id"]
    site.client.start(stranger)
    try:
        with site_on(tmp_path / "other", network) as other:
            other.run("same", SLEEP)
            other.until("same", "Running")
            (other.root / "specs/same.yaml").unlink()
            other.until("same", "Stopped", "SpecDeleted")
            assert site.status("same").phase == "Running"
            assert site.client.inspect_container(site.container("same"))["State"]["Running"]
            site.restart()
            assert site.runs("same") == 1
            other.run("same", SLEEP)
            other.until("same", "Running", generation=2)
            site.wish("same", "stop")
            site.until("same", "Stopped")
            assert other.client.inspect_container(other.container("same"))["State"]["Running"]
        assert site.client.inspect_container(stranger)["State"]["Running"]
    finally:
        site.client.remove_container(stranger, force=True)


def test_a_second_operator_waits_and_takes_over(site: Site) -> None:
    site.run("live", SLEEP)
    site.until("live", "Running")
    second = site.spawn()
    try:
        site.until_true(lambda: "another operator holds this volume" in site.log.read_text(), "the second one waits")
        site.run("first", "true")
        site.until_ended("first")
        assert site.is_synced()
        site.kill()
        site.process = second
        site.until_true(site.is_synced, "the second one has taken over", 15)
        site.run("second", "true")
        site.until_ended("second")
        assert {name: site.runs(name) for name in ("live", "first", "second")} == {"live": 1, "first": 1, "second": 1}
    finally:
        second.kill()
        second.wait(10)


def void(_: object) -> None:
    """Forget a value."""
