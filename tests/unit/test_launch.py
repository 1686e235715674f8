"""The container of an attempt, and the folder it finds."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.unit.situations import NOW, attempt, present, status

from opeva_operator.acceptance import Acceptance, Accepted
from opeva_operator.engine import ContainerSpec, Mount
from opeva_operator.folders import Folders
from opeva_operator.launch import container_name, container_spec
from opeva_specs.model import SimulationJob
from opeva_specs.settings import Settings
from opeva_specs.volume import SharedVolume

INSTANCE = "0123456789abcdef"
FIRST, SECOND = attempt(1), attempt(2)


@pytest.fixture
def volume(tmp_path: Path) -> SharedVolume:
    volume = SharedVolume(tmp_path / "data")
    volume.make_folders()
    return volume


def accepted(volume: SharedVolume, **spec: Any) -> Accepted:
    """The record of a job that was accepted with these fields."""
    acceptance = Acceptance(volume, Settings(shared_data=volume.root, default_image="sim:1"))
    body = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": "a"}, "spec": spec}
    acceptance.accept(SimulationJob.model_validate(body), present(), None, NOW, "opeva-v-a")
    found = acceptance.read("a")
    assert found is not None
    return found


def spec_of(
    volume: SharedVolume, *, previous: str | None = None, tracking: str | None = None, **spec: Any
) -> ContainerSpec:
    settings = Settings(shared_data=volume.root, mlflow_tracking_uri=tracking, mlflow_public_url=tracking)
    return container_spec(accepted(volume, **(spec or {"args": ["x"]})), FIRST, settings, INSTANCE, "/srv/d", previous)


# -- the container -------------------------------------------------------------------------------------------------


def test_one_name_per_job_of_a_volume_whatever_the_attempt() -> None:
    assert container_name(INSTANCE, "a") == "opeva-01234567-a"


def test_a_job_sees_the_volume_but_writes_only_its_own_folder(volume: SharedVolume) -> None:
    mounts = {mount.target: mount for mount in spec_of(volume).mounts}
    assert mounts["/data"] == Mount(source="/srv/d", target="/data")
    for part in ("specs", "control", "status", "rejected", "jobs"):
        assert mounts[f"/data/{part}"] == Mount(source=f"/srv/d/{part}", target=f"/data/{part}", read_only=True)
    assert mounts["/data/state"].source is None
    assert mounts["/data/jobs/a"] == Mount(source="/srv/d/jobs/a", target="/data/jobs/a")
    assert len(mounts) == 8


def test_an_outer_folder_is_mounted_before_what_lies_in_it(volume: SharedVolume) -> None:
    targets = [mount.target for mount in spec_of(volume).mounts]
    for place, target in enumerate(targets):
        assert not any(target.startswith(f"{later}/") for later in targets[place + 1 :])


def test_arguments_are_a_list_in_the_order_they_were_written(volume: SharedVolume) -> None:
    found = spec_of(volume, command=["sh", "-c"], args=["echo 'a b'", ""])
    assert (found.command, found.args) == (("sh", "-c"), ("echo 'a b'", ""))


def test_limits_are_the_engines_numbers(volume: SharedVolume) -> None:
    found = spec_of(volume, args=["x"], resources={"cpu": "500m", "memory": "1Gi"})
    assert (found.nano_cpus, found.memory_bytes) == (5 * 10**8, 2**30)
    free = spec_of(volume)
    assert (free.nano_cpus, free.memory_bytes) == (None, None)


def test_a_job_hears_its_name_its_base_and_what_was_before(volume: SharedVolume) -> None:
    env = spec_of(volume, previous="/data/jobs/a/attempts/1-1").env
    assert env == {
        "OPEVA_BASE_DIR": "/data", "OPEVA_JOB_NAME": "a", "OPEVA_PREVIOUS_ATTEMPT": "/data/jobs/a/attempts/1-1",
        "OPEVA_GENERATION": "1", "OPEVA_ATTEMPT": "1",
    }  # fmt: skip


def test_a_job_hears_of_tracking_where_there_is_a_server(volume: SharedVolume) -> None:
    env = spec_of(volume, tracking="http://mlflow:5000", config={"experiment": {"name": "e", "run_name": "r"}}).env
    assert env["MLFLOW_TRACKING_URI"] == env["MLFLOW_UI_BASE_URL"] == "http://mlflow:5000"
    assert (env["MLFLOW_EXPERIMENT_NAME"], env["OPEVA_JOB_NAME"]) == ("e", "e-r")


def test_what_the_user_wrote_wins(volume: SharedVolume) -> None:
    assert spec_of(volume, args=["x"], env={"OPEVA_BASE_DIR": "/mine"}).env["OPEVA_BASE_DIR"] == "/mine"


# -- its folder ----------------------------------------------------------------------------------------------------


def prepare(volume: SharedVolume, record: Accepted, number: int) -> str | None:
    told = status(attempts=(FIRST, SECOND)[:number], job_info={"job_id": "a"})
    return Folders(volume).prepare(record, told, (FIRST, SECOND)[number - 1])


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def test_a_first_attempt_finds_empty_folders_its_config_and_its_story(volume: SharedVolume) -> None:
    assert prepare(volume, accepted(volume, config={"a": 1}), 1) is None
    job = volume.jobs / "a"
    assert tree(job) == {"config.yaml", "job_info.json"}
    assert {path.name for path in job.iterdir() if path.is_dir()} == {"logs", "progress", "results"}
    info = orjson.loads((job / "job_info.json").read_bytes())
    assert (info["job_id"], info["generation"], info["attempt"]) == ("a", 1, 1)


def test_everything_of_an_attempt_is_moved_away_before_the_next(volume: SharedVolume) -> None:
    record = accepted(volume, config={"a": 1})
    prepare(volume, record, 1)
    job = volume.jobs / "a"
    (job / "results" / "result.json").write_text("first")
    (job / "link").symlink_to("/etc/passwd")
    assert prepare(volume, record, 2) == "/data/jobs/a/attempts/1-1"
    assert tree(job) == {
        "config.yaml", "job_info.json", "attempts/1-1/config.yaml", "attempts/1-1/job_info.json",
        "attempts/1-1/results/result.json", "attempts/1-1/link",
    }  # fmt: skip
    assert prepare(volume, record, 2) == "/data/jobs/a/attempts/1-1"
    assert (job / "attempts" / "1-1" / "results" / "result.json").read_text() == "first"


class Dies(BaseException):
    """The process is gone."""


def dying_rename(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the process die at the n-th rename."""
    real, left = os.rename, [after]

    def rename(*arguments: Any, **keywords: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Dies
        real(*arguments, **keywords)

    monkeypatch.setattr(os, "rename", rename)


@pytest.mark.parametrize("step", range(1, 11))
def test_a_crash_amid_archiving_loses_and_mixes_nothing(
    volume: SharedVolume, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    record = accepted(volume, config={"a": 1})
    prepare(volume, record, 1)
    job = volume.jobs / "a"
    for part in ("logs", "progress", "results"):
        (job / part / "file").write_text("first")
    with monkeypatch.context() as patched:
        dying_rename(patched, step)
        try:
            prepare(volume, record, 2)
        except Dies:
            pass
    assert prepare(volume, record, 2) == "/data/jobs/a/attempts/1-1"
    for part in ("logs", "progress", "results"):
        assert (job / "attempts" / "1-1" / part / "file").read_text() == "first"
        assert list((job / part).iterdir()) == []
    assert orjson.loads((job / "job_info.json").read_bytes())["attempt"] == 2
    assert not any(path.name.endswith("~") and not path.name.startswith(".") for path in job.iterdir())


@pytest.mark.parametrize("step", [*range(1, 16), None])
def test_an_earlier_attempt_is_shown_again_with_its_own_files(
    volume: SharedVolume, monkeypatch: pytest.MonkeyPatch, step: int | None
) -> None:
    record = accepted(volume, config={"a": 1})
    job = volume.jobs / "a"
    for number, words in ((1, "first"), (2, "second")):
        prepare(volume, record, number)
        (job / "results" / "result.json").write_text(words)
    with monkeypatch.context() as patched:
        if step is not None:
            dying_rename(patched, step)
        try:
            Folders(volume).show("a", FIRST)
        except Dies:
            pass
    Folders(volume).show("a", FIRST)
    assert (job / "results" / "result.json").read_text() == "first"
    assert (job / "attempts" / "1-2" / "results" / "result.json").read_text() == "second"
    assert not (job / "attempts" / "1-1").exists()


@pytest.mark.parametrize("planted", ["attempts", "results", "attempts/1-1", "attempts/.1-1"])
def test_a_link_in_the_jobs_folder_leads_nowhere_and_stops_nothing(
    volume: SharedVolume, tmp_path: Path, planted: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    record = accepted(volume, config={"a": 1})
    prepare(volume, record, 1)
    link = volume.jobs / "a" / planted
    link.parent.mkdir(exist_ok=True)
    if link.exists():
        link.rmdir()
    link.symlink_to(outside)
    assert prepare(volume, record, 2) == "/data/jobs/a/attempts/1-1"
    assert list(outside.iterdir()) == []
    assert (volume.jobs / "a" / "attempts" / "1-1" / "config.yaml").exists()


def test_a_deleted_jobs_folder_is_out_of_sight_in_one_step(volume: SharedVolume) -> None:
    prepare(volume, accepted(volume, config={"a": 1}), 1)
    trash = Folders(volume).trash("a", NOW)
    assert not (volume.jobs / "a").exists()
    assert (volume.root / trash / "config.yaml").exists()
    assert Folders(volume).trash("nobody", NOW).startswith(".trash/nobody-")
