"""What happens when: every event that a job can meet, on the real engine, seen through the files only."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.e2e.harness import Site, consistently
from tests.e2e.jobs import SLEEP, job

pytestmark = pytest.mark.docker

PAST_SETTLE = 2.5  # seconds: an edit that ends a run would have ended it by then
PAST_GRACE = 3.5  # the same of a deletion


# -- nothing that counts has changed ---------------------------------------------------------------------------------


def same_bytes(path: Path) -> None:
    path.with_name(".new").write_bytes(path.read_bytes())
    path.with_name(".new").rename(path)


def comment(path: Path) -> None:
    path.write_text("# a note\n" + path.read_text())


def key_order(path: Path) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()), sort_keys=True))


def as_json(path: Path) -> None:
    path.write_text(json.dumps(yaml.safe_load(path.read_text()), indent=2))


@pytest.mark.parametrize("edit", [same_bytes, comment, key_order, as_json])
def test_an_edit_that_changes_no_meaning_changes_nothing(site: Site, edit: Callable[[Path], None]) -> None:
    live, ended = site.run("live", SLEEP), site.run("ended")
    site.until("live", "Running")
    site.until_ended("ended")
    container = site.container("live")
    edit(live)
    edit(ended)
    site.stays("live", PAST_SETTLE, outcome=("Running", "Running"), generation=1)
    assert site.container("live") == container
    assert site.status("ended").outcome == ("Finished", "Completed")
    assert (site.runs("live"), site.runs("ended")) == (1, 1)


def test_a_file_that_is_moved_only_changes_where_it_comes_from(site: Site) -> None:
    live, ended = site.run("live", SLEEP), site.run("ended")
    site.until("live", "Running")
    site.until_ended("ended")
    (site.root / "specs/team").mkdir()
    live.rename(site.root / "specs/team/renamed.yaml")
    ended.rename(site.root / "specs/other.yml")
    site.until_true(lambda: site.status("live").source == "team/renamed.yaml", "the source is the new path")
    site.until_true(lambda: site.status("ended").source == "other.yml", "the source is the new path")
    site.stays("live", PAST_GRACE, phase="Running", generation=1)
    assert site.status("ended").outcome == ("Finished", "Completed")
    assert (site.runs("live"), site.runs("ended")) == (1, 1)


# -- edits inside the digest -----------------------------------------------------------------------------------------


def test_an_edit_of_a_queued_job_replaces_it_at_once(full: Site) -> None:
    full.run("edited", "echo old")
    full.until("edited", "Queued", "AtCapacity")
    full.run("edited", "echo new")
    told = full.until("edited", "Queued", "AtCapacity", generation=2)
    assert told.attempts == []
    full.wish("blocker", "stop")
    told = full.until_ended("edited", generation=2)
    assert (told.phase, full.runs("edited")) == ("Finished", 1)
    assert [a["generation"] for a in told.attempts] == [2]


def test_an_edit_of_a_live_job_ends_it_after_the_settle_time(site: Site) -> None:
    site.run("edited", SLEEP)
    site.until("edited", "Running")
    site.run("edited", f"echo new; {SLEEP}")
    site.stays("edited", 0.5, phase="Running", generation=1)
    told = site.until("edited", "Running", generation=2)
    first, second = told.attempts
    assert (first["reason"], first["generation"], second["generation"]) == ("Superseded", 1, 2)
    assert len(site.containers("edited")) == 1
    assert site.runs("edited") == 2


def test_an_edit_of_an_ended_job_runs_it_anew(site: Site) -> None:
    site.run("edited", "echo old")
    site.until_ended("edited")
    site.run("edited", "echo new; exit 3")
    told = site.until_ended("edited", generation=2)
    assert [a["reason"] for a in told.attempts] == ["Completed", "ExitNonZero"]
    log = site.root / "jobs/edited/logs/container.log"
    assert log.read_text() == "new\n"
    assert (site.root / "jobs/edited/attempts/1-1/logs/container.log").read_text() == "old\n"


def test_an_edit_that_is_taken_back_within_the_settle_time_ends_nothing(site: Site) -> None:
    site.run("edited", SLEEP)
    site.until("edited", "Running")
    container = site.container("edited")
    site.run("edited", "echo another")
    site.run("edited", SLEEP)
    site.stays("edited", PAST_SETTLE, phase="Running", generation=1)
    assert site.container("edited") == container


# -- edits outside the digest ----------------------------------------------------------------------------------------


def test_an_edit_outside_the_digest_is_applied_in_place(full: Site) -> None:
    full.run("queued", SLEEP)
    full.until("queued", "Queued", "AtCapacity")
    for name in ("blocker", "queued"):
        full.drop(f"{name}.yaml", job(name, SLEEP, labels={"team": "blue"}, terminationGracePeriodSeconds=7))
    for name, phase in (("blocker", "Running"), ("queued", "Queued")):
        full.until_true(lambda n=name: full.status(n).labels == {"team": "blue"}, f"the label of {name}")
        told = full.status(name)
        assert (told.phase, told.generation, told.raw["status"]["graceSeconds"]) == (phase, 1, 7)
    assert (full.runs("blocker"), full.runs("queued")) == (1, 0)


def test_an_edit_outside_the_digest_leaves_an_ended_job_as_it_is(site: Site) -> None:
    site.drop("ended.yaml", job("ended", labels={"team": "red"}))
    site.until_ended("ended")
    site.drop("ended.yaml", job("ended", labels={"team": "blue"}, terminationGracePeriodSeconds=9))
    site.stays("ended", PAST_SETTLE, outcome=("Finished", "Completed"), generation=1, labels={"team": "red"})
    assert site.runs("ended") == 1


# -- the digest comes back -------------------------------------------------------------------------------------------


def test_an_earlier_run_that_ended_by_itself_is_shown_again(site: Site) -> None:
    site.run("back", "echo first; exit 5")
    site.until_ended("back")
    site.run("back", "echo second")
    site.until_ended("back", generation=2)
    site.run("back", "echo first; exit 5")
    told = site.until("back", "Failed", "ExitNonZero", generation=1)
    assert "exit code 5" in told.message
    site.stays("back", 2, outcome=("Failed", "ExitNonZero"), generation=1)
    assert site.runs("back") == 2
    assert (site.root / "jobs/back/logs/container.log").read_text() == "first\n"


def test_an_earlier_run_that_a_person_stopped_is_shown_again(site: Site) -> None:
    site.run("back", SLEEP)
    site.until("back", "Running")
    site.wish("back", "stop")
    site.until("back", "Stopped", "StoppedByUser")
    site.run("back", "echo second")
    site.until_ended("back", generation=2)
    site.run("back", SLEEP)
    site.until("back", "Stopped", "StoppedByUser", generation=1)
    site.stays("back", 2, outcome=("Stopped", "StoppedByUser"))
    assert site.runs("back") == 2


def test_an_earlier_run_that_was_superseded_runs_again(site: Site) -> None:
    site.run("back", SLEEP)
    site.until("back", "Running")
    site.run("back", "echo second")
    site.until_ended("back", generation=2)
    site.run("back", SLEEP)
    told = site.until("back", "Running", generation=3)
    assert [a["reason"] for a in told.attempts[:2]] == ["Superseded", "Completed"]
    assert site.runs("back") == 3


def test_a_run_whose_spec_was_deleted_runs_again_when_the_file_is_back(site: Site) -> None:
    path = site.run("back", SLEEP)
    site.until("back", "Running")
    path.unlink()
    site.until("back", "Stopped", "SpecDeleted")
    site.run("back", SLEEP)
    site.until("back", "Running", generation=2)
    assert site.runs("back") == 2


def test_an_earlier_run_is_shown_again_whatever_was_rerun_since(site: Site) -> None:
    site.run("back", "echo first")
    site.until_ended("back")
    site.run("back", "echo second")
    site.until_ended("back", generation=2)
    site.wish("back", "rerun")
    site.until_ended("back", generation=3)
    site.run("back", "echo first")
    site.until("back", "Finished", generation=1)
    site.stays("back", 2.5, outcome=("Finished", "Completed"), generation=1)
    assert site.runs("back") == 3


# -- run it again ----------------------------------------------------------------------------------------------------


def test_raising_rerun_in_the_file_runs_it_again(site: Site) -> None:
    site.run("again", "echo once")
    site.until_ended("again")
    site.run("again", "echo once", rerun=1)
    site.until_ended("again", generation=2)
    assert site.runs("again") == 2


def test_the_wish_to_rerun_runs_it_again_and_edits_no_file(site: Site) -> None:
    path = site.run("again", "echo once")
    before = path.read_bytes(), path.stat().st_mtime_ns
    digest = site.until_ended("again").raw["metadata"]["digest"]
    site.wish("again", "rerun")
    told = site.until_ended("again", generation=2)
    assert told.raw["metadata"]["digest"] == digest
    assert told.raw["status"]["reruns"] == 1
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    site.until_true(lambda: not (site.root / "control/again.json").exists(), "the wish is taken away")
    site.stays("again", 2.5, generation=2, phase="Finished")
    assert site.runs("again") == 2


def test_the_wish_to_rerun_a_live_job_ends_it_first(site: Site) -> None:
    site.run("again", SLEEP)
    site.until("again", "Running")
    site.wish("again", "rerun")
    told = site.until("again", "Running", generation=2)
    assert told.attempts[0]["reason"] == "Superseded"
    assert site.runs("again") == 2


# -- wishes ----------------------------------------------------------------------------------------------------------


def test_stopping_a_queued_job_cancels_it(full: Site) -> None:
    full.run("waiting", SLEEP)
    full.until("waiting", "Queued", "AtCapacity")
    full.wish("waiting", "stop", reason="not needed")
    told = full.until("waiting", "Canceled", "StoppedByUser")
    assert "not needed" in told.message
    full.wish("blocker", "stop")
    full.until("blocker", "Stopped")
    full.stays("waiting", 2.5, outcome=("Canceled", "StoppedByUser"), generation=1)
    assert full.runs("waiting") == 0


def test_stopping_a_live_job_ends_the_generation_for_good(site: Site) -> None:
    site.run("stopped", SLEEP)
    site.until("stopped", "Running")
    site.wish("stopped", "stop", by="Ann")
    told = site.until("stopped", "Stopped", "StoppedByUser")
    assert "Ann" in told.message
    site.restart()
    site.stays("stopped", 2.5, outcome=("Stopped", "StoppedByUser"), generation=1)
    assert site.runs("stopped") == 1
    site.until_true(lambda: site.containers("stopped") == [], "its container is removed")


def test_stopping_an_ended_job_changes_nothing(site: Site) -> None:
    site.run("ended")
    site.until_ended("ended")
    site.wish("ended", "stop")
    site.until_true(lambda: not (site.root / "control/ended.json").exists(), "the wish is taken away")
    site.stays("ended", 1, outcome=("Finished", "Completed"))
    assert "had ended already" in (site.root / "state/jobs/ended/events.jsonl").read_text()


def test_a_wish_for_another_version_of_the_job_is_dropped(site: Site) -> None:
    site.run("other", SLEEP)
    site.until("other", "Running")
    site.wish("other", "stop", digest="0" * 64)
    site.until_true(lambda: not (site.root / "control/other.json").exists(), "the wish is taken away")
    site.stays("other", 1, outcome=("Running", "Running"))


def test_a_wish_that_comes_before_its_job_waits_for_it(site: Site) -> None:
    site.wish("early", "stop")
    consistently((site.root / "control/early.json").exists, "the wish waits", 1.5)
    site.run("early", SLEEP)
    site.until("early", "Canceled", "StoppedByUser")
    assert site.runs("early") == 0


def test_deleting_a_job_of_the_api_leaves_nothing(site: Site) -> None:
    path = site.drop("api/gone.yaml", job("gone"))
    site.until_ended("gone")
    site.wish("gone", "delete")
    site.until_true(lambda: site.status("gone") is None, "there is no status any more")
    site.until_true(lambda: not (site.root / "control/gone.json").exists(), "the wish is taken away")
    assert not path.exists()
    assert not (site.root / "jobs/gone").exists()
    assert not (site.root / "state/jobs/gone").exists()
    site.drop("api/gone.yaml", job("gone"))
    site.until_ended("gone")
    assert site.runs("gone") == 2


def test_deleting_a_job_of_somebodys_file_leaves_a_tombstone(site: Site) -> None:
    path = site.run("mine", "echo old")
    site.until_ended("mine")
    site.wish("mine", "delete")
    site.until_true(lambda: site.status("mine").hidden, "the status is hidden")
    assert path.exists()
    assert not (site.root / "jobs/mine").exists()
    site.restart()
    site.stays("mine", 2.5, hidden=True, generation=1)
    assert site.runs("mine") == 1
    site.run("mine", "echo new")
    told = site.until_ended("mine", generation=2)
    assert (told.hidden, site.runs("mine")) == (False, 2)


def test_a_tombstone_outlives_the_loss_of_the_status_folder(site: Site) -> None:
    site.run("mine")
    site.until_ended("mine")
    site.wish("mine", "delete")
    site.until_true(lambda: site.status("mine").hidden, "the status is hidden")
    (site.root / "status/mine.json").unlink()
    site.until_true(lambda: site.status("mine") is not None, "the status is back")
    site.stays("mine", 1.5, hidden=True, generation=1)
    assert site.runs("mine") == 1


def test_deleting_a_live_job_stops_it_first(site: Site) -> None:
    site.drop("api/live.yaml", job("live", SLEEP))
    site.until("live", "Running")
    site.wish("live", "delete")
    site.until_true(lambda: site.status("live") is None, "there is no status any more")
    assert site.containers("live") == []
    assert not (site.root / "jobs/live").exists()
