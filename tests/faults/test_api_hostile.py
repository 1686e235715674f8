"""Hostile jobs, broken storage and sudden ends: nothing leaks, nothing hangs, nothing accepted is lost."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from opeva_api.testing import PlayedOperator, Stage, staged
from opeva_specs.parse import parse
from opeva_specs.status import Phase
from opeva_specs.volume import SharedVolume

SECRET = "a secret of another place"
CONFIG = {"experiment": {"name": "Grid"}}
READS = ("status", "job-info", "progress", "result", "logs", "file-logs")
SERVE = "import sys, opeva_api.app as app; app.main()"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path / "volume") as found:
        found.operator.tells("j", Phase.RUNNING)
        found.shows("j", "running")
        yield found


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    for name in ("j.log", "container.log", "progress.json", "result.json", "job_info.json"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f'{{"text": "{SECRET}"}}')
    return folder


def answers(stage: Stage) -> dict[str, httpx.Response]:
    return {read: stage.get(f"/{read}/j") for read in READS} | {"jobs": stage.get("/jobs")}


# -- what a job may plant --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("logs/j.log", "j.log"),
        ("logs/container.log", "container.log"),
        ("logs", ""),
        ("progress/progress.json", "progress.json"),
        ("progress", ""),
        ("results/result.json", "result.json"),
        ("results", ""),
        ("job_info.json", "job_info.json"),
    ],
)
def test_a_planted_link_leads_nowhere(stage: Stage, elsewhere: Path, link: str, target: str) -> None:
    path = stage.operator.volume.jobs / "j" / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere / target)
    for name, answer in answers(stage).items():
        assert answer.status_code == (404 if name == "file-logs" else 200), name
        assert SECRET not in answer.text, name


def test_a_job_folder_that_is_a_link_leads_nowhere(stage: Stage, elsewhere: Path) -> None:
    (stage.operator.volume.jobs / "j").symlink_to(elsewhere)
    assert all(SECRET not in answer.text for answer in answers(stage).values())


@pytest.mark.parametrize("path", ["logs/j.log", "progress/progress.json", "results/result.json", "job_info.json"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_a_planted_pipe_or_folder_hangs_nobody(stage: Stage, path: str, make: Any) -> None:
    planted = stage.operator.volume.jobs / "j" / path
    planted.parent.mkdir(parents=True, exist_ok=True)
    make(planted)
    began = time.monotonic()
    assert all(answer.status_code in (200, 404) for answer in answers(stage).values())
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["progress/progress.json", "results/result.json", "job_info.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"NaN", b"[" * 200_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"9" * 10_000],
    ids=["empty", "torn", "no text", "NaN", "brackets", "deep", "digits"],
)
@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.FINISHED])
def test_whatever_a_job_writes_every_endpoint_answers(stage: Stage, path: str, content: bytes, phase: Phase) -> None:
    stage.operator.writes(f"jobs/j/{path}", content)
    stage.operator.tells("j", phase)
    stage.shows("j", phase.word)
    for name, answer in answers(stage).items():
        assert answer.status_code == (404 if name == "file-logs" else 200), name


def test_a_log_replaced_under_a_follower_ends_its_stream(stage: Stage) -> None:
    stage.operator.writes("jobs/j/logs/j.log", "a long first line\n")
    with stage.client.stream("GET", "/logs/j?follow=true") as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "a long first line\n"
        stage.operator.writes("jobs/j/logs/j.log", "new\n")
        assert list(pieces) == []


# -- storage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EROFS, 503), (errno.EIO, 503)]
)
def test_storage_that_fails_accepts_nothing_and_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(SharedVolume, "write", fail)
    requests = [
        stage.post("/run-simulation", {"config": CONFIG}),
        stage.post("/stop/j"),
        stage.post("/experiment-config/create", {"file_name": "a.yaml", "config": CONFIG}),
    ]
    assert [answer.status_code for answer in requests] == [status] * 3
    assert all("shared volume" in answer.json()["detail"] or "may not" in answer.text for answer in requests)
    assert len(stage.get("/jobs").json()) == 1


def test_a_status_folder_that_vanishes_and_returns_changes_no_job(stage: Stage) -> None:
    folder = stage.operator.volume.status
    folder.rename(folder.with_name("away"))
    stage.operator.writes("control/other.json", {})
    time.sleep(1.5)  # longer than the feed's pulse and the poll of the watch
    assert stage.word("j") == "running"
    folder.with_name("away").rename(folder)
    stage.operator.tells("j", Phase.FINISHED)
    stage.shows("j", "finished")


# -- processes -------------------------------------------------------------------------------------------------------


def start(root: Path, **more: str) -> tuple[subprocess.Popen[str], str]:
    env = dict(os.environ) | {"OPEVA_SHARED_DATA": str(root), "OPEVA_API_PORT": "0", "DOCKER_HOST": "unix:///nowhere"}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen([sys.executable, "-c", SERVE], env=env | more, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "listening on " in line:
            return process, line.split("listening on ")[1].strip()
    raise AssertionError("the API did not start")


def wait_for(address: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{address}/health", timeout=5)
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the API does not answer")


def test_what_was_accepted_survives_a_kill_right_after_the_answer(tmp_path: Path) -> None:
    process, address = start(tmp_path)
    try:
        wait_for(address)
        headers = {"Idempotency-Key": "k"}
        job = httpx.post(f"{address}/run-simulation", json={"config": CONFIG}, headers=headers, timeout=20).json()
    finally:
        process.kill()
        process.communicate()
    assert parse((tmp_path / f"specs/api/{job['job_id']}.yaml").read_bytes())[0].job.metadata.name == job["job_id"]
    with staged(tmp_path) as again:
        assert [told["job_id"] for told in again.get("/jobs").json()] == [job["job_id"]]
        assert again.post("/run-simulation", {"config": CONFIG}, headers=headers).json() == job


def test_a_follower_does_not_keep_the_service_from_ending(tmp_path: Path) -> None:
    operator = PlayedOperator(tmp_path)
    operator.tells("j", Phase.RUNNING)
    operator.writes("jobs/j/logs/j.log", "one\n")
    process, address = start(tmp_path)
    try:
        wait_for(address)
        with httpx.stream("GET", f"{address}/logs/j?follow=true", timeout=20) as answer:
            pieces = answer.iter_text()
            assert next(pieces) == "one\n"
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)
        assert process.returncode in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


def test_a_bad_setting_is_told_in_one_sentence(tmp_path: Path) -> None:
    env = dict(os.environ) | {"OPEVA_SHARED_DATA": str(tmp_path), "OPEVA_API_PORT": "many"}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", SERVE], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("opeva-api: cannot use OPEVA_API_PORT='many'")
    assert "Traceback" not in done.stderr


def test_this_process_has_no_way_to_an_engine() -> None:
    code = (
        "import sys, opeva_api.app; print([m for m in sys.modules if m.split('.')[0] in ('docker', 'opeva_operator')])"
    )
    env = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
