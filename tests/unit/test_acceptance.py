"""A run as it was accepted: resolved once, durable, whatever becomes of file, config and settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.situations import NOW, ago, attempt, container, ended, present, running

from opeva_operator.acceptance import Acceptance, ConfigMissing, adopted, restored
from opeva_specs.model import SimulationJob
from opeva_specs.settings import Settings
from opeva_specs.status import JobStatus, Phase, Reason, condition, condition_of
from opeva_specs.volume import SharedVolume


@pytest.fixture
def volume(tmp_path: Path) -> SharedVolume:
    volume = SharedVolume(tmp_path / "data")
    volume.make_folders()
    return volume


@pytest.fixture
def acceptance(volume: SharedVolume) -> Acceptance:
    return Acceptance(volume, Settings(shared_data=volume.root, default_image="sim:1"))


def job(labels: dict[str, str] | None = None, **spec: Any) -> SimulationJob:
    metadata = {"name": "a", "labels": labels or {}}
    spec = spec or {"args": ["x"]}
    return SimulationJob.model_validate(
        {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": metadata, "spec": spec}
    )


WRITTEN = (job(), present())


def accept(acceptance: Acceptance, before: JobStatus | None = None, **spec: Any) -> JobStatus:
    return acceptance.accept(job(**spec), present(), before, NOW, "opeva-v-a")


def test_a_first_run_is_generation_one_and_queued(acceptance: Acceptance) -> None:
    status = accept(acceptance)
    assert (status.metadata.generation, status.status.phase, status.status.queued_at) == (1, Phase.QUEUED, NOW)
    assert [g.generation for g in status.status.generations] == [1]
    assert status.status.attempts == ()


def test_numbers_only_grow_even_when_an_earlier_generation_is_shown(acceptance: Acceptance) -> None:
    second = accept(acceptance, ended())
    third = accept(acceptance, restored(second, second.status.generations[0], *WRITTEN, NOW))
    assert [g.generation for g in third.status.generations] == [1, 2, 3]
    assert third.metadata.generation == 3


def test_a_new_generation_keeps_what_was_and_forgets_what_was_decided(acceptance: Acceptance) -> None:
    before = ended(reruns=2, last_wish="w7", hidden=True)
    after = accept(acceptance, before)
    assert after.status.attempts == before.status.attempts
    assert (after.status.reruns, after.status.last_wish, after.status.hidden) == (2, "w7", False)
    assert (after.status.intent, after.status.finished_at) == (None, None)
    assert after.status.generations[-1].reruns == 2


def test_defaults_are_resolved_once(acceptance: Acceptance, volume: SharedVolume) -> None:
    accept(acceptance, config={"a": 1})
    later = Acceptance(volume, Settings(shared_data=volume.root, default_image="other:2", job_args=("--new",)))
    kept = later.read("a")
    assert kept is not None
    assert (kept.image, kept.network) == ("sim:1", "opeva_network")
    assert kept.args == ("--config", "/data/jobs/a/config.yaml", "--job_id", "a")


def test_what_was_not_written_is_not_in_the_record(acceptance: Acceptance) -> None:
    accept(acceptance)
    kept = acceptance.read("a")
    assert kept is not None
    assert kept.job.spec.model_fields_set == {"args"}


def test_without_a_config_only_written_arguments_count(acceptance: Acceptance) -> None:
    accept(acceptance, args=["--fast"])
    kept = acceptance.read("a")
    assert kept is not None
    assert (kept.args, kept.has_config, kept.config_digest) == (("--fast",), False, None)


def test_an_inline_config_is_kept_as_yaml(acceptance: Acceptance, volume: SharedVolume) -> None:
    config = {"experiment": {"name": "é", "run_name": "r"}, "steps": 3}
    status = accept(acceptance, config=config)
    assert yaml.safe_load((volume.root / "state/jobs/a/config.yaml").read_text()) == config
    assert status.status.job_info["job_name"] == "é-r"


@pytest.mark.parametrize("path", ["train.yaml", "configs/train.yaml"])
def test_a_config_file_is_copied_byte_by_byte(acceptance: Acceptance, volume: SharedVolume, path: str) -> None:
    data = b"# \xc3\xa9\nx: &x {name: e}\ny: *x\n"
    (volume.root / "configs" / "train.yaml").write_bytes(data)
    accept(acceptance, configPath=path)
    assert (volume.root / "state/jobs/a/config.yaml").read_bytes() == data


def test_an_empty_inline_config_is_a_config(acceptance: Acceptance) -> None:
    accept(acceptance, config={})
    kept = acceptance.read("a")
    assert kept is not None
    assert kept.has_config
    assert kept.args == ("--config", "/data/jobs/a/config.yaml", "--job_id", "a")


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


MISSING: list[Any] = [
    pytest.param(None, "there is no such file", id="missing"),
    pytest.param(b"- a\n", "to be mended: it is a list", id="a list"),
    pytest.param(b"a: [", "is not readable YAML", id="torn"),
    pytest.param(b"#" * (2**20 + 1), "it is larger than 1048576 bytes", id="too large"),
]


@pytest.mark.parametrize(("data", "words"), MISSING)
def test_a_config_that_cannot_be_used_is_waited_for(
    acceptance: Acceptance, volume: SharedVolume, data: bytes | None, words: str
) -> None:
    path = volume.root / "configs" / "train.yaml"
    if data is not None:
        path.write_bytes(data)
    status = accept(acceptance, configPath="train.yaml")
    assert (status.status.phase, status.status.reason) == (Phase.QUEUED, Reason.CONFIG_MISSING)
    assert words in status.status.message
    assert isinstance(acceptance.copy_config("a", status), ConfigMissing)
    path.write_bytes(b"experiment: {name: e}\n")
    copied = acceptance.copy_config("a", status)
    assert isinstance(copied, JobStatus)
    assert copied.status.config_digest is not None
    assert copied.status.job_info["experiment_name"] == "e"


def test_a_config_that_is_a_link_is_never_followed(acceptance: Acceptance, volume: SharedVolume) -> None:
    _link(volume.root / "configs" / "train.yaml")
    status = accept(acceptance, configPath="train.yaml")
    assert "it is a symbolic link" in status.status.message


def test_a_denied_job_fails_without_an_attempt(acceptance: Acceptance) -> None:
    status = accept(acceptance, args=["x"], network="host")
    assert (status.status.phase, status.status.reason) == (Phase.FAILED, Reason.POLICY_DENIED)
    assert status.status.attempts == ()


def test_an_amendment_takes_over_what_is_not_part_of_the_run(acceptance: Acceptance) -> None:
    status = accept(acceptance)
    edited = job(labels={"team": "x"}, args=["x"], terminationGracePeriodSeconds=7, submittedBy="ann")
    after = acceptance.amend(edited, present(source_hash="h2", source="b.yaml"), status, NOW)
    assert (after.metadata.labels, after.metadata.source_hash, after.metadata.source) == ({"team": "x"}, "h2", "b.yaml")
    assert (after.status.grace_seconds, after.status.job_info["submitted_by"]) == (7, "ann")
    assert (after.metadata.generation, after.metadata.digest) == (1, status.metadata.digest)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", None])
def test_a_record_that_cannot_be_read_is_none(acceptance: Acceptance, volume: SharedVolume, data: bytes | None) -> None:
    accept(acceptance)
    path = volume.root / "state/jobs/a/accepted.json"
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    assert acceptance.read("a") is None


def test_a_container_without_a_status_tells_what_it_is() -> None:
    found = container(generation=3, attempt=2, started_at=ago(40))
    status = adopted("a", found, None, NOW)
    assert (status.metadata.generation, status.metadata.digest) == (3, "d1")
    assert status.attempt is not None
    assert (status.attempt.attempt, status.attempt.container_id, status.attempt.started_at) == (2, "c1", ago(40))


def test_an_adopted_container_joins_what_was_known() -> None:
    status = adopted("a", container(generation=2), running(), NOW)
    assert [g.generation for g in status.status.generations] == [1, 2]
    assert [(a.generation, a.attempt) for a in status.status.attempts] == [(1, 1), (2, 1)]


def test_an_adopted_container_has_neither_ended_nor_does_it_wait() -> None:
    before = ended(hidden=True, retry_at=NOW, conditions=(condition("Complete", True, "Completed", "", ago(900)),))
    status = adopted("a", container(generation=2), before, NOW)
    assert (status.status.hidden, status.status.retry_at, condition_of(status, "Complete")) == (False, None, None)


def test_the_outcome_that_is_shown_again_is_that_of_its_last_attempt() -> None:
    before = ended()
    shown = restored(before, before.status.generations[0], *WRITTEN, NOW)
    assert (shown.status.phase, shown.status.finished_at) == (Phase.FINISHED, ago(1))
    assert attempt().is_open and shown.attempt is not None and not shown.attempt.is_open


def test_an_edit_that_drops_the_user_drops_the_user(acceptance: Acceptance) -> None:
    status = accept(acceptance, args=["x"], submittedBy="ann")
    assert status.status.job_info["submitted_by"] == "ann"
    after = acceptance.amend(job(args=["x"]), present(source_hash="h2"), status, NOW)
    assert "submitted_by" not in after.status.job_info
