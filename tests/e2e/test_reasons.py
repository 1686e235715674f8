"""Every reason that a status can give, each brought about for real on the real engine."""

import re
import time
from collections.abc import Iterator

import pytest
from tests.contract.registry import Registry
from tests.e2e.harness import Site, consistently, eventually
from tests.e2e.jobs import SLEEP, job

pytestmark = pytest.mark.docker

THRICE = ["first", "second", "third"]  # what happened by chance once does not happen three times
STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"
# An engine begins to listen for this a moment after the start, and no longer listens when all is over.
HOG = "sleep 0.5; dd if=/dev/zero of=/dev/null bs=64M count=1; code=$?; sleep 0.5; exit $code"


# -- the job's own end -----------------------------------------------------------------------------------------------


def test_completed(site: Site) -> None:
    site.run("done", "echo well done")
    told = site.until("done", "Finished", "Completed")
    assert (told.attempt["exitCode"], told.attempt["oomKilled"]) == (0, False)
    assert told.condition("Complete") == "True"
    moments = [told.attempt[key] for key in ("queuedAt", "startedAt", "finishedAt")]
    assert moments == sorted(moments)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", moment) for moment in moments)


def test_every_exit_code_is_told_as_it_is(site: Site) -> None:
    codes = [1, 2, 125, 126, 127, 137, 143, 255]
    for code in codes:
        site.run(f"exit-{code}", f"echo the reason; exit {code}")
    for code in codes:
        told = site.until(f"exit-{code}", "Failed", "ExitNonZero")
        assert told.attempt["exitCode"] == code
        assert f"exit code {code}" in told.message
        assert "the reason" in told.message


def test_out_of_memory(site: Site) -> None:
    for name in THRICE:
        site.run(name, HOG, resources={"memory": "16Mi"})
    for name in THRICE:
        told = site.until_ended(name)
        assert told.outcome == ("Failed", "OutOfMemory")
        assert told.attempt["oomKilled"] is True


def test_killed_from_outside_is_not_out_of_memory(site: Site) -> None:
    site.run("killed", SLEEP)
    site.until("killed", "Running")
    site.client.kill(site.container("killed"), "SIGKILL")
    told = site.until_ended("killed")
    assert told.outcome == ("Failed", "ExitNonZero")
    assert told.attempt["exitCode"] == 137


# -- ended on purpose ------------------------------------------------------------------------------------------------


def ended_within(site: Site, name: str, seconds: float) -> None:
    """Wish the end of a job, and hold that it comes in time by the engine's clock and by ours."""
    begin = time.monotonic()
    site.wish(name, "stop")
    told = site.until(name, "Stopped", "StoppedByUser")
    assert time.monotonic() - begin < seconds
    assert told.attempt["exitCode"] in (137, 143)


def test_stopped_by_user_though_it_ignores_the_signal(site: Site) -> None:
    site.run("stubborn", STUBBORN)
    site.until("stubborn", "Running")
    ended_within(site, "stubborn", 1 + 2)


def test_stopped_by_user_though_it_is_paused(site: Site) -> None:
    site.run("paused", SLEEP)
    site.until("paused", "Running", "Running")
    site.client.pause(site.container("paused"))
    site.until("paused", "Running", "Paused")
    ended_within(site, "paused", 1 + 2)


def test_a_job_that_is_resumed_runs_again(site: Site) -> None:
    site.run("paused", SLEEP)
    site.until("paused", "Running", "Running")
    site.client.pause(site.container("paused"))
    site.until("paused", "Running", "Paused")
    site.client.unpause(site.container("paused"))
    site.until("paused", "Running", "Running")


def test_superseded_and_spec_deleted(site: Site) -> None:
    site.run("edited", SLEEP)
    site.until("edited", "Running")
    site.run("edited", f"echo new; {SLEEP}")
    told = site.until("edited", "Running", generation=2)
    assert told.attempts[0]["reason"] == "Superseded"
    (site.root / "specs/edited.yaml").unlink()
    told = site.until("edited", "Stopped", "SpecDeleted", generation=2)
    assert told.attempts[1]["reason"] == "SpecDeleted"


# -- images ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.close()


def test_image_pull_failed_because_it_is_not_there(site: Site, registry: Registry) -> None:
    for name in THRICE:
        site.run(name, image=f"{registry.name}/nobody/{name}:1")
    for name in THRICE:
        told = site.until(name, "Failed", "ImagePullFailed")
        assert "not found" in told.message
        assert told.attempts == []


def test_image_pull_failed_because_of_the_password(site: Site) -> None:
    strict = Registry(password="secret")
    try:
        for name in THRICE:
            site.run(name, image=f"{strict.name}/team/{name}:1")
        for name in THRICE:
            assert "unauthorised" in site.until(name, "Failed", "ImagePullFailed").message
    finally:
        strict.close()


def test_image_pull_failed_because_nobody_is_there(site: Site, registry: Registry) -> None:
    registry.close()
    site.restart(OPEVA_PULL_TIMEOUT_SECONDS="5")
    site.run("nowhere", image=f"{registry.name}/team/job:1")
    told = site.until("nowhere", "Queued", "Pulling")
    site.run("beside")
    site.until_ended("beside")
    told = site.until("nowhere", "Failed", "ImagePullFailed")
    assert "unreachable" in told.message


def test_image_pull_failed_because_it_must_never_be_pulled(site: Site, registry: Registry) -> None:
    site.run("never", image=f"{registry.name}/team/job:1", imagePullPolicy="Never")
    told = site.until("never", "Failed", "ImagePullFailed")
    assert "imagePullPolicy is Never" in told.message
    assert registry.asked == []


def test_a_pull_that_is_under_way_can_be_stopped(site: Site, registry: Registry) -> None:
    registry.publish("team/job:1")
    with registry.slow():
        site.run("pulling", image=f"{registry.name}/team/job:1")
        site.until("pulling", "Queued", "Pulling")
        site.wish("pulling", "stop")
        site.until("pulling", "Canceled", "StoppedByUser", within=5)
        registry.manifests.clear()
        registry.blobs.clear()


# -- it cannot start -------------------------------------------------------------------------------------------------


def test_bad_command(site: Site) -> None:
    for name in THRICE:
        site.run(name, command=["/no/such/program"])
    for name in THRICE:
        told = site.until(name, "Failed", "BadCommand")
        assert "no such file" in told.message.lower()
        site.until_true(lambda name=name: site.containers(name) == [], "its container is removed")
        assert "no such file" in (site.root / f"jobs/{name}/logs/container.log").read_text().lower()


def test_network_missing(site: Site) -> None:
    network = f"{site.network}-late"
    site.run("waits", network=network)
    told = site.until("waits", "Queued", "NetworkMissing")
    assert network in told.message
    made = site.client.create_network(network, driver="bridge")["Id"]
    try:
        site.until("waits", "Finished", "Completed")
        site.client.remove_network(made)
        site.run("again", network=network)
        site.until("again", "Queued", "NetworkMissing")
        assert site.containers("again") == []
    finally:
        for row in site.client.networks(names=[network]):
            site.client.remove_network(row["Id"])


def test_jobs_that_come_first_at_once_share_one_network(site: Site) -> None:
    network = f"{site.network}-first"
    site.restart(OPEVA_DOCKER_NETWORK=network)
    names = [f"first-{number}" for number in range(6)]
    try:
        for name in names:
            site.run(name)
        for name in names:
            site.until(name, "Finished", "Completed")
        assert len(site.client.networks(names=[network])) == 1
    finally:
        for row in site.client.networks(names=[network]):
            site.client.remove_network(row["Id"])


def test_name_conflict_leaves_the_stranger_alone(site: Site) -> None:
    site.run("first")
    site.until_ended("first")
    stranger = site.client.create_container_from_config(
        {"Image": "opeva-test/busybox:latest", "Cmd": ["sleep", "300"]}, site.container_name("taken")
    )["Id"]
    try:
        site.client.start(stranger)
        site.run("taken")
        told = site.until("taken", "Failed", "NameConflict")
        assert site.container_name("taken") in told.message
        site.wish("taken", "delete")
        site.until_true(lambda: site.status("taken").hidden, "the job is deleted")
        found = site.client.inspect_container(stranger)
        assert (found["State"]["Running"], found["Id"]) == (True, stranger)
    finally:
        site.client.remove_container(stranger, force=True)


# -- lost ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("meanwhile", ["running", "down"])
def test_container_lost(site: Site, meanwhile: str) -> None:
    site.run("lost", SLEEP)
    site.until("lost", "Running")
    if meanwhile == "down":
        site.kill()
    site.client.remove_container(site.container("lost"), force=True)
    if meanwhile == "down":
        site.start()
    told = site.until("lost", "Failed")
    assert told.reason == "ContainerLost"
    consistently(lambda: site.status("lost").generation == 1, "it is not run again", 2.5)
    assert site.runs("lost") == 1


def test_previous_run_unknown(site: Site) -> None:
    site.restart(OPEVA_MAX_CONCURRENT_JOBS="1")
    site.run("first", SLEEP)
    site.until("first", "Running")
    site.kill()
    # What a crash leaves that came between the record of the start and the start: all but the status was written.
    events = (site.root / "state/jobs/first/events.jsonl").read_text().splitlines(keepends=True)
    starting = [number for number, line in enumerate(events) if '"reason":"Starting"' in line]
    (site.root / "state/jobs/first/events.jsonl").write_text("".join(events[: starting[0] + 1]))
    site.client.remove_container(site.container("first"), force=True)
    (site.root / "status/first.json").unlink()
    site.start()
    told = site.until("first", "Failed", "PreviousRunUnknown")
    assert "rerun" in told.message
    consistently(lambda: site.runs("first") == 1, "it is not run again by itself", 2)
    site.wish("first", "rerun")
    site.until("first", "Running", generation=2)


def test_disk_pressure(site: Site) -> None:
    site.restart(OPEVA_MIN_FREE_BYTES="900T")
    site.run("waits")
    told = site.until("waits", "Queued", "DiskPressure")
    assert "free" in told.message
    consistently(lambda: site.status("waits").reason == "DiskPressure", "it waits", 1.5)
    site.restart(OPEVA_MIN_FREE_BYTES="0")
    site.until("waits", "Finished", "Completed")


def test_spec_invalid_and_config_missing(site: Site) -> None:
    site.drop("api/invalid.yaml", job("invalid", nonsense=1))
    assert "nonsense" in site.until("invalid", "Failed", "SpecInvalid").message
    site.run("config", configPath="absent.yaml")
    assert "absent.yaml" in site.until("config", "Queued", "ConfigMissing").message
    eventually(lambda: site.rejected("api/invalid.yaml"), "the file is rejected too")
