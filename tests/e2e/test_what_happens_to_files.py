"""What happens to jobs when files go, cannot be accepted, or ask for what is not there: on the real engine."""

import pytest
from tests.e2e.harness import Site, consistently
from tests.e2e.jobs import SLEEP, job, text_of

pytestmark = pytest.mark.docker

PAST_SETTLE = 2.5  # seconds: an edit that ends a run would have ended it by then
PAST_GRACE = 3.5  # the same of a deletion


# -- the file goes ---------------------------------------------------------------------------------------------------


def test_a_queued_job_whose_file_is_gone_is_canceled(full: Site) -> None:
    path = full.run("waiting", SLEEP)
    full.until("waiting", "Queued", "AtCapacity")
    path.unlink()
    full.until("waiting", "Canceled", "SpecDeleted")
    assert full.runs("waiting") == 0


def test_a_live_job_whose_file_is_gone_is_stopped_after_the_grace(site: Site) -> None:
    path = site.run("live", f"echo kept; {SLEEP}")
    site.until("live", "Running")
    path.unlink()
    site.stays("live", 1.3, phase="Running")
    told = site.until("live", "Stopped", "SpecDeleted")
    assert told.condition("SpecPresent") == "False"
    site.until_true(lambda: site.containers("live") == [], "its container is removed")
    assert (site.root / "jobs/live/logs/container.log").read_text() == "kept\n"


def test_a_live_job_whose_file_is_back_in_time_goes_on(site: Site) -> None:
    path = site.run("live", SLEEP)
    site.until("live", "Running")
    container = site.container("live")
    path.unlink()
    site.until_true(lambda: site.status("live").condition("SpecPresent") == "False", "it is told that the file is gone")
    site.run("live", SLEEP)
    site.stays("live", PAST_GRACE, phase="Running", generation=1)
    assert site.container("live") == container


def test_an_ended_job_whose_file_is_gone_keeps_its_outcome(site: Site) -> None:
    path = site.run("ended", "echo kept")
    site.until_ended("ended")
    path.unlink()
    site.until_true(
        lambda: site.status("ended").condition("SpecPresent") == "False", "it is told that the file is gone"
    )
    site.stays("ended", PAST_GRACE, outcome=("Finished", "Completed"), generation=1)
    assert (site.root / "jobs/ended/logs/container.log").read_text() == "kept\n"
    site.run("ended", "echo kept")
    site.until_true(lambda: site.status("ended").condition("SpecPresent") == "True", "it is told that the file is back")
    site.stays("ended", 1.5, outcome=("Finished", "Completed"), generation=1)
    assert site.runs("ended") == 1


def test_another_name_in_the_file_is_another_job(site: Site) -> None:
    site.drop("job.yaml", job("old", SLEEP))
    site.until("old", "Running")
    site.drop("job.yaml", job("new", SLEEP))
    site.until("new", "Running")
    site.until("old", "Stopped", "SpecDeleted")
    assert (site.runs("old"), site.runs("new")) == (1, 1)


# -- files that cannot be accepted -----------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True], ids=["at-once", "after-a-restart"])
def test_a_file_that_becomes_invalid_leaves_its_job_alone_until_it_is_mended(site: Site, restarted: bool) -> None:
    good = text_of(job("torn", SLEEP))
    site.put("specs/torn.yaml", good)
    site.until("torn", "Running")
    site.put("specs/torn.yaml", good + "  imagee: nonsense\n")
    site.until_true(lambda: site.rejected("torn.yaml"), "the file is rejected")
    (error,) = site.rejected("torn.yaml")
    assert (error["field"], error["line"]) == ("spec.imagee", len(good.splitlines()) + 1)
    assert "image" in error["message"]
    site.stays("torn", PAST_GRACE, phase="Running", generation=1)
    if restarted:
        site.kill()
    site.put("specs/torn.yaml", good)
    if restarted:
        site.start()
    site.until_true(lambda: not site.rejected("torn.yaml"), "the file is no longer rejected")
    site.stays("torn", PAST_SETTLE, phase="Running", generation=1)
    assert site.runs("torn") == 1


@pytest.mark.parametrize("restarted", [False, True], ids=["at-once", "after-a-restart"])
def test_deleting_an_invalid_file_counts_as_deleting_its_jobs(site: Site, restarted: bool) -> None:
    site.drop("torn.yaml", job("live", SLEEP), job("ended"))
    site.until("live", "Running")
    site.until_ended("ended")
    path = site.put("specs/torn.yaml", "kind: [")
    site.until_true(lambda: site.rejected("torn.yaml"), "the file is rejected")
    if restarted:
        site.restart()
        site.stays("live", PAST_GRACE, phase="Running")
    path.unlink()
    site.until("live", "Stopped", "SpecDeleted")
    site.until_true(lambda: not site.rejected("torn.yaml"), "nothing is rejected any more")
    assert site.status("ended").outcome == ("Finished", "Completed")


def test_an_error_in_one_document_rejects_the_whole_file(site: Site) -> None:
    bad = job("second") | {"kind": "SimulationJobb"}
    site.drop("two.yaml", job("first"), bad)
    site.until_true(lambda: site.rejected("two.yaml"), "the file is rejected")
    assert site.rejected("two.yaml")[0]["document"] == 2
    consistently(lambda: site.status("first") is None, "no job of the file exists", 1.5)
    site.drop("two.yaml", job("first"), job("second"))
    site.until_ended("first")
    site.until_ended("second")
    assert site.rejected("two.yaml") == []


def test_a_name_that_the_file_has_twice_rejects_that_document_only(site: Site) -> None:
    site.drop("two.yaml", job("twice", "echo first"), job("twice", "echo second"), job("free"))
    site.until_ended("twice")
    site.until_ended("free")
    site.until_true(lambda: site.rejected("two.yaml"), "the document is rejected")
    (error,) = site.rejected("two.yaml")
    assert error["document"] == 2
    assert (site.root / "jobs/twice/logs/container.log").read_text() == "first\n"
    assert site.runs("twice") == 1


def test_a_name_that_another_file_has_rejects_that_document_only(site: Site) -> None:
    site.run("taken", SLEEP)
    site.until("taken", "Running")
    site.drop("two.yaml", job("taken", "echo another"), job("free"))
    site.until_ended("free")
    site.until_true(lambda: site.rejected("two.yaml"), "the document is rejected")
    (error,) = site.rejected("two.yaml")
    assert (error["reason"], error["document"]) == ("DuplicateName", 1)
    site.stays("taken", PAST_SETTLE, phase="Running", generation=1)
    assert site.status("taken").source == "taken.yaml"


def test_the_other_file_takes_over_when_the_first_goes(site: Site) -> None:
    first = site.drop("first.yaml", job("same", SLEEP))
    site.until("same", "Running")
    site.drop("second.yaml", job("same", SLEEP))
    site.until_true(lambda: site.rejected("second.yaml"), "the second file is rejected")
    first.unlink()
    site.until_true(lambda: site.status("same").source == "second.yaml", "the second file has the name")
    site.until_true(lambda: not site.rejected("second.yaml"), "the second file is no longer rejected")
    site.stays("same", PAST_GRACE, phase="Running", generation=1)
    assert site.runs("same") == 1


def test_a_file_that_takes_over_with_another_digest_runs_its_own(site: Site) -> None:
    first = site.drop("first.yaml", job("same", SLEEP))
    site.until("same", "Running")
    site.drop("second.yaml", job("same", f"echo another; {SLEEP}"))
    site.until_true(lambda: site.rejected("second.yaml"), "the second file is rejected")
    first.unlink()
    told = site.until("same", "Running", generation=2)
    assert (told.source, told.attempts[0]["reason"]) == ("second.yaml", "Superseded")


def test_an_invalid_file_of_the_api_is_a_failed_job_until_it_is_mended(site: Site) -> None:
    site.put("specs/api/bad.yaml", text_of(job("bad")) + "  imagee: nonsense\n")
    told = site.until("bad", "Failed", "SpecInvalid")
    assert "imagee" in told.message
    assert site.rejected("api/bad.yaml")
    site.drop("api/bad.yaml", job("bad"))
    site.until("bad", "Finished", "Completed")
    assert site.rejected("api/bad.yaml") == []
    assert site.runs("bad") == 1


# -- well-formed, but it cannot run now ------------------------------------------------------------------------------


def test_a_job_waits_for_its_config(site: Site) -> None:
    site.run("waits", "cat /data/jobs/waits/config.yaml", configPath="late.yaml")
    told = site.until("waits", "Queued", "ConfigMissing")
    assert "configs/late.yaml" in told.message
    site.stays("waits", 1, outcome=("Queued", "ConfigMissing"))
    site.put("configs/late.yaml", "experiment: {name: E, run_name: R}\n")
    told = site.until_ended("waits")
    assert told.phase == "Finished"
    assert (site.root / "jobs/waits/logs/container.log").read_text() == "experiment: {name: E, run_name: R}\n"
    assert told.raw["status"]["jobInfo"]["experiment_name"] == "E"


def test_a_job_waits_for_its_host(site: Site) -> None:
    site.run("waits", targetHost="mars")
    assert "mars" in site.until("waits", "Queued", "HostUnknown").message
    site.stays("waits", 1.5, outcome=("Queued", "HostUnknown"))


@pytest.mark.parametrize("forbidden", ["host", "container:blocker"])
def test_what_policy_denies_fails_without_an_attempt(site: Site, forbidden: str) -> None:
    site.run("denied", network=forbidden)
    told = site.until("denied", "Failed", "PolicyDenied")
    assert (told.attempts, site.containers("denied")) == ([], [])
    site.stays("denied", 1.5, outcome=("Failed", "PolicyDenied"), generation=1)
    site.run("denied")
    site.until("denied", "Finished", generation=2)


def test_a_config_that_is_edited_later_changes_nothing_until_a_rerun(full: Site) -> None:
    full.put("configs/c.yaml", "value: old\n")
    full.run("job", "cat /data/jobs/job/config.yaml", configPath="configs/c.yaml")
    full.until("job", "Queued", "AtCapacity")
    full.put("configs/c.yaml", "value: new\n")
    full.wish("blocker", "stop")
    full.until_ended("job")
    log = full.root / "jobs/job/logs/container.log"
    assert log.read_text() == "value: old\n"
    full.stays("job", 1.5, phase="Finished", generation=1)
    full.wish("job", "rerun")
    full.until_ended("job", generation=2)
    assert log.read_text() == "value: new\n"


def test_other_defaults_change_nothing_that_was_accepted(full: Site) -> None:
    full.put("configs/c.yaml", "value: 1\n")
    default = {"command": ["sh", "-c", "echo $0 $*"], "configPath": "c.yaml"}
    spec = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob"}
    full.drop("queued.yaml", {**spec, "metadata": {"name": "queued"}, "spec": default})
    full.until("queued", "Queued", "AtCapacity")
    full.restart(OPEVA_DEFAULT_IMAGE="opeva-test/busybox:other", OPEVA_JOB_ARGS="--other <name>")
    full.stays("blocker", PAST_SETTLE, phase="Running", generation=1)
    full.wish("blocker", "stop")
    told = full.until_ended("queued")
    assert told.attempt["image"] == "opeva-test/busybox:latest"
    log = (full.root / "jobs/queued/logs/container.log").read_text()
    assert log == "--config /data/jobs/queued/config.yaml --job_id queued\n"
    full.stays("queued", PAST_SETTLE, phase="Finished", generation=1)
    assert full.runs("blocker") == 1
