"""What clients ask, of the whole service: what the API works out agrees with what the operator does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.jobs import SLEEP, job
from tests.e2e.service import Service, service_on

pytestmark = pytest.mark.docker


@pytest.fixture
def service(tmp_path: Path, network: str, busybox: str) -> Iterator[Service]:
    with service_on(tmp_path / "volume", network, OPEVA_MAX_CONCURRENT_JOBS="1") as found:
        yield found


def ask(service: Service, path: str, body: Any = None) -> Any:
    answer = service.client.post(path, json=body) if body is not None else service.client.post(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def kinds(service: Service, name: str) -> list[str]:
    return [blocker["kind"] for blocker in service.told(f"/explain/{name}")["blockers"]]


def test_who_waits_is_told_why_and_gets_its_turn_as_told(service: Service) -> None:
    service.site.run("first", SLEEP)
    service.until("first", "running")
    service.site.run("low")
    service.until("low", "queued")
    service.site.run("high", priority=5)
    service.until("high", "queued")
    service.site.run("paused", suspend=True)
    service.site.run("lost", configPath="none.yaml")
    service.until("lost", "queued")
    assert [row["job_id"] for row in service.told("/queue")][:2] == ["high", "low"]
    assert kinds(service, "high") == ["AtCapacity"]
    assert kinds(service, "low") == ["AtCapacity", "Ahead"]
    assert set(kinds(service, "paused")) >= {"Suspended", "AtCapacity"}
    assert set(kinds(service, "lost")) >= {"ConfigMissing", "AtCapacity"}
    told = ask(service, "/specs/explain", job("new", targetHost="moon"))
    assert told["blockers"][0]["kind"] == "HostUnknown"
    ask(service, "/ops/jobs/first/cancel", {"force": True, "reason": "make room"})
    assert service.until_ended("first") == "stopped"
    assert service.until_ended("high") == "finished"
    assert service.until_ended("low") == "finished"
    high, low = (service.told(f"/status/{name}") for name in ("high", "low"))
    assert high["started_at"] < low["started_at"]
    assert service.told("/explain/low")["blockers"] == []


def test_an_ended_job_is_requeued_its_files_read_and_cleaned_up(service: Service) -> None:
    service.site.run("a", "echo one,two > /data/jobs/a/results/table.csv; exit 3")
    assert service.until_ended("a") == "failed"
    files = [file["path"] for file in service.told("/jobs/a/files")["files"]]
    assert {"results/table.csv", "logs/container.log", "job_info.json"} <= set(files)
    assert service.client.get("/jobs/a/files/results/table.csv").text == "one,two\n"
    assert ask(service, "/ops/jobs/a/requeue")["job_id"] == "a"
    service.site.until("a", "Failed", generation=2)
    assert service.site.runs("a") == 2
    assert ask(service, "/ops/jobs/cleanup")["would_remove"] == ["a"]
    assert ask(service, "/ops/jobs/cleanup", {"dry_run": False})["removed"] == ["a"]
    service.site.until_true(lambda: service.client.get("/status/a").status_code == 404, "the job is gone")
    assert not (service.site.root / "jobs/a").exists()
