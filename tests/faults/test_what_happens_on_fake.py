"""What happens when, line by line, on the whole operator with a fake engine."""

from pathlib import Path

import pytest
from tests.unit.simulation import IMAGE, Simulation, document

from opeva_specs.status import condition_of


@pytest.fixture
def s(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "data")


def live(s: Simulation, name: str = "a") -> None:
    """A job that runs."""
    s.drop(name)
    s.run()
    assert s.phase(name) == "Running Running"


def over(s: Simulation, name: str = "a", exit_code: int = 0) -> None:
    """A job that has ended by itself."""
    live(s, name)
    s.finish(name, exit_code)
    s.wait(1)


def queued(s: Simulation, name: str = "b") -> None:
    """A job that waits for its turn behind others."""
    for number in range(s.settings.max_concurrent_jobs):
        live(s, f"other-{number}")
    s.drop(name)
    s.run()
    assert s.phase(name) == "Queued AtCapacity"


# -- the same run --------------------------------------------------------------------------------------------------


def test_the_same_job_written_differently_is_the_same_run(s: Simulation) -> None:
    live(s)
    s.write("a.yaml", "# a comment\n" + document("a"))
    s.run()
    reordered = "\n".join(reversed("kind: SimulationJob\napiVersion: opeva.io/v1".split("\n")))
    s.write("a.yaml", f"{reordered}\nspec: {{args: [--steps, '10']}}\nmetadata: {{name: a}}\n")
    s.wait(30)
    assert s.status("a").metadata.generation == 1
    assert s.engine.starts == ["a"]


def test_a_moved_file_is_the_same_run(s: Simulation) -> None:
    live(s)
    s.move("a.yaml", "sub/renamed.yaml")
    s.wait(60)
    assert s.phase("a") == "Running Running"
    assert s.status("a").metadata.source == "sub/renamed.yaml"
    assert s.engine.starts == ["a"]


def test_a_file_moved_while_nobody_told_of_it_is_the_same_run(s: Simulation) -> None:
    live(s)
    s.is_deaf = True
    s.move("a.yaml", "sub/renamed.yaml")
    s.wait(90)
    assert s.phase("a") == "Running Running"
    assert s.status("a").metadata.source == "sub/renamed.yaml"


# -- edits ---------------------------------------------------------------------------------------------------------


def test_an_edit_of_a_queued_job_replaces_it_at_once(s: Simulation) -> None:
    queued(s)
    s.drop("b", args=["other"])
    s.run()
    assert s.status("b").metadata.generation == 2
    assert s.phase("b") == "Queued AtCapacity"
    assert s.status("b").status.generations[0].reason == "Superseded"
    assert "b" not in s.engine.starts


def test_an_edit_of_a_live_job_ends_it_after_the_settle_time_and_runs_the_next(s: Simulation) -> None:
    live(s)
    s.drop("a", args=["other"])
    s.wait(4)
    assert s.phase("a") == "Running Running"
    s.wait(2)
    told = s.status("a")
    assert (told.metadata.generation, s.phase("a")) == (2, "Running Running")
    assert [(a.generation, a.reason, a.exit_code) for a in told.status.attempts] == [
        (1, "Superseded", 143),
        (2, None, None),
    ]


def test_an_edit_that_is_taken_back_in_time_changes_nothing(s: Simulation) -> None:
    live(s)
    s.drop("a", args=["other"])
    s.wait(2)
    s.drop("a")
    s.wait(30)
    assert s.phase("a") == "Running Running"
    assert s.status("a").metadata.generation == 1
    assert s.engine.starts == ["a"]


def test_an_edit_of_an_ended_job_is_a_new_generation_and_the_files_of_the_old_one_are_kept(s: Simulation) -> None:
    over(s)
    (s.volume.jobs / "a" / "results" / "result.json").write_text("{}")
    s.drop("a", args=["other"])
    s.run()
    assert (s.status("a").metadata.generation, s.phase("a")) == (2, "Running Running")
    assert (s.volume.jobs / "a" / "attempts" / "1-1" / "results" / "result.json").exists()
    assert list((s.volume.jobs / "a" / "results").iterdir()) == []
    assert s.engine.wanted("a").env["OPEVA_PREVIOUS_ATTEMPT"] == "/data/jobs/a/attempts/1-1"


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "queued"])
def test_an_edit_outside_the_digest_is_applied_in_place(s: Simulation, is_live: bool) -> None:
    name = "a" if is_live else "b"
    (live if is_live else queued)(s, name)
    s.drop(name, labels={"team": "x"}, terminationGracePeriodSeconds=7)
    s.wait(20)
    told = s.status(name)
    assert (told.metadata.generation, told.metadata.labels, told.status.grace_seconds) == (1, {"team": "x"}, 7)
    assert s.engine.starts.count(name) == is_live


def test_an_edit_outside_the_digest_is_never_applied_to_an_ended_job(s: Simulation) -> None:
    over(s)
    s.drop("a", labels={"team": "x"})
    s.wait(60)
    told = s.status("a")
    assert (told.metadata.generation, told.metadata.labels, s.phase("a")) == (1, {}, "Finished Completed")


def test_the_digest_of_a_run_that_ended_by_itself_is_shown_again_not_run(s: Simulation) -> None:
    over(s, exit_code=3)
    (s.volume.jobs / "a" / "results" / "result.json").write_text('{"run": 1}')
    s.drop("a", args=["other"])
    s.run()
    s.finish("a", 0)
    s.wait(1)
    (s.volume.jobs / "a" / "results" / "result.json").write_text('{"run": 2}')
    s.drop("a")
    s.wait(60)
    told = s.status("a")
    assert (told.metadata.generation, s.phase("a")) == (1, "Failed ExitNonZero")
    assert (s.volume.jobs / "a" / "results" / "result.json").read_text() == '{"run": 1}'
    s.drop("a", args=["other"])
    s.wait(60)
    assert (s.status("a").metadata.generation, s.phase("a")) == (2, "Finished Completed")
    assert (s.volume.jobs / "a" / "results" / "result.json").read_text() == '{"run": 2}'
    assert s.engine.starts == ["a", "a"]


def test_the_digest_of_a_superseded_run_runs_again(s: Simulation) -> None:
    live(s)
    s.drop("a", args=["other"])
    s.wait(6)
    s.drop("a")
    s.wait(6)
    assert (s.status("a").metadata.generation, s.phase("a")) == (3, "Running Running")


# -- files that go, come and break ---------------------------------------------------------------------------------


def test_a_queued_job_without_a_file_is_canceled(s: Simulation) -> None:
    queued(s)
    s.remove("b.yaml")
    s.wait(6)
    assert s.phase("b") == "Canceled SpecDeleted"


def test_a_live_job_without_a_file_is_stopped_after_settle_and_grace(s: Simulation) -> None:
    live(s)
    s.remove("a.yaml")
    s.wait(14)
    assert s.phase("a") == "Running Running"
    s.wait(2)
    assert s.phase("a") == "Stopped SpecDeleted"
    assert (s.volume.jobs / "a").exists()


def test_an_ended_job_without_a_file_stays_as_it_ended(s: Simulation) -> None:
    over(s, exit_code=2)
    s.remove("a.yaml")
    s.wait(60)
    assert s.phase("a") == "Failed ExitNonZero"
    found = condition_of(s.status("a"), "SpecPresent")
    assert found is not None and found.status == "False"


def test_a_file_that_comes_back_in_time_ends_nothing(s: Simulation) -> None:
    live(s)
    s.remove("a.yaml")
    s.wait(12)
    s.drop("a")
    s.wait(60)
    assert (s.phase("a"), s.engine.starts) == ("Running Running", ["a"])


def test_a_changed_name_ends_the_old_job_and_begins_a_new_one(s: Simulation) -> None:
    live(s)
    s.write("a.yaml", document("b"))
    s.wait(16)
    assert (s.phase("a"), s.phase("b")) == ("Stopped SpecDeleted", "Running Running")


def test_a_file_that_becomes_invalid_ends_nothing_and_says_why(s: Simulation) -> None:
    live(s)
    s.write("a.yaml", "kind: [")
    s.wait(60)
    assert s.phase("a") == "Running Running"
    assert [error["line"] for error in s.rejected("a.yaml")] == [2]
    s.drop("a")
    s.wait(10)
    assert (s.rejected("a.yaml"), s.phase("a")) == ([], "Running Running")


def test_deleting_an_invalid_file_deletes_its_jobs(s: Simulation) -> None:
    live(s)
    s.write("a.yaml", "kind: [")
    s.wait(2)
    s.remove("a.yaml")
    s.wait(16)
    assert s.phase("a") == "Stopped SpecDeleted"
    assert s.rejected("a.yaml") == []


def test_an_error_in_one_document_rejects_the_whole_file(s: Simulation) -> None:
    s.write("two.yaml", document("a") + "---\n" + "kind: SimulationJob\n")
    s.run()
    assert (s.phase("a"), s.rejected("two.yaml")[0]["document"]) == ("-", 2)


def test_a_name_of_another_file_rejects_that_document_only(s: Simulation) -> None:
    live(s)
    s.write("two.yaml", document("a", args=["x"]) + "---\n" + document("b"))
    s.run()
    assert (s.phase("a"), s.phase("b")) == ("Running Running", "Running Running")
    assert [error["reason"] for error in s.rejected("two.yaml")] == ["DuplicateName"]
    assert s.status("a").metadata.source == "a.yaml"


def test_when_the_keeping_file_goes_the_other_takes_over_by_the_digest_rules(s: Simulation) -> None:
    live(s)
    s.drop("a", file="same.yaml")
    s.run()
    s.remove("a.yaml")
    s.wait(30)
    assert (s.phase("a"), s.engine.starts) == ("Running Running", ["a"])
    assert s.status("a").metadata.source == "same.yaml"
    assert s.rejected("same.yaml") == []
    s.drop("a", file="other.yaml", args=["other"])
    s.run()
    s.remove("same.yaml")
    s.wait(30)
    assert (s.status("a").metadata.generation, s.engine.starts) == (2, ["a", "a"])


def test_a_file_of_the_api_that_turns_out_invalid_is_a_failed_job(s: Simulation) -> None:
    s.write("api/a.yaml", "kind: SimulationJob\n")
    s.run()
    assert s.phase("a") == "Failed SpecInvalid"
    assert s.rejected("api/a.yaml")


def test_what_policy_denies_fails_without_an_attempt_and_a_new_digest_asks_again(s: Simulation) -> None:
    s.drop("a", network="host")
    s.run()
    assert (s.phase("a"), s.status("a").status.attempts) == ("Failed PolicyDenied", ())
    s.drop("a")
    s.run()
    assert (s.phase("a"), s.status("a").metadata.generation) == ("Running Running", 2)


# -- configs and settings ------------------------------------------------------------------------------------------


def test_a_job_waits_for_its_config_and_starts_when_it_comes(s: Simulation) -> None:
    s.drop("a", configPath="train.yaml")
    s.run()
    assert s.phase("a") == "Queued ConfigMissing"
    config = s.volume.root / "configs" / "train.yaml"
    config.write_text("experiment: {name: e}\n")
    s.tell(config)
    s.run()
    assert s.phase("a") == "Running Running"
    assert (s.volume.jobs / "a" / "config.yaml").read_text() == "experiment: {name: e}\n"


def test_a_job_that_waits_for_its_config_stands_in_nobodys_way(tmp_path: Path) -> None:
    s = Simulation(tmp_path, max_concurrent_jobs=1)
    s.drop("a", configPath="train.yaml")
    s.drop("b")
    s.run()
    assert (s.phase("a"), s.phase("b")) == ("Queued ConfigMissing", "Running Running")


def test_a_config_that_is_edited_later_changes_nothing_until_a_rerun(s: Simulation) -> None:
    config = s.volume.root / "configs" / "train.yaml"
    config.write_text("v: 1\n")
    for name in ("other-0", "other-1", "other-2", "other-3"):
        live(s, name)
    s.drop("a", configPath="configs/train.yaml")
    s.run()
    config.write_text("v: 2\n")
    s.finish("other-0")
    s.wait(1)
    assert (s.volume.jobs / "a" / "config.yaml").read_text() == "v: 1\n"
    s.finish("a")
    s.wait(1)
    s.wish("a", "rerun")
    s.run()
    assert (s.volume.jobs / "a" / "config.yaml").read_text() == "v: 2\n"


def test_an_unknown_host_is_waited_for(s: Simulation) -> None:
    s.drop("a", targetHost="gpu-1")
    s.wait(40)
    assert s.phase("a") == "Queued HostUnknown"


def test_changed_defaults_change_nothing_for_what_was_accepted(s: Simulation) -> None:
    queued(s)
    s.restart(default_image="other:2", docker_network="elsewhere")
    s.finish("other-0")
    s.wait(2)
    assert s.phase("b") == "Running Running"
    assert (s.engine.wanted("b").image, s.engine.wanted("b").network) == (IMAGE, "opeva_network")
    assert s.status("b").metadata.generation == 1
