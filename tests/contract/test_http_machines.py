"""Hosts and images, as the operator told of them: whatever is missing, clients can still submit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opeva_api.testing import Stage, staged
from opeva_specs.status import Phase

AT = "2026-01-31T12:00:00.000000Z"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        found.operator.beats()
        yield found


def hosts(stage: Stage, **told: dict[str, Any]) -> Any:
    stage.operator.has_hosts(**told)
    stage.eventually(lambda: set(told) <= set(stage.get("/hosts").json()["hosts"]))
    return stage.get("/hosts").json()["hosts"]


def image(name: str, created: str = AT, *on: str, digest: str | None = None) -> dict[str, Any]:
    return {"name": name, "id": f"sha256:{name}", "digest": digest, "created": created, "hosts": list(on) or ["local"]}


def versions(stage: Stage, **query: Any) -> Any:
    answer = stage.get("/job-images/versions", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- hosts -----------------------------------------------------------------------------------------------------------


def test_every_host_is_told_of_with_what_it_gives(stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.shows("j", "running")
    far = {"capacity": {"gpu": 2, "jobs": 7}, "labels": {"room": "2"}, "clockOffsetSeconds": -1.5}
    far |= {"activeJobIds": ["j"], "running": 1, "info": {"version": "20.10"}}
    told = hosts(stage, local={}, far=far)
    assert set(told) == {"local", "far"}
    assert told["far"]["online"] is True
    assert (told["far"]["running"], told["far"]["current_job_id"], told["far"]["current_job_status"]) == (
        1,
        "j",
        "running",
    )
    info = told["far"]["info"]
    assert info["capacity"] == {"jobs": 7, "cpu": 8 * 10**9, "memory": 16 * 2**30, "gpu": 2}
    assert (info["usable"], info["labels"], info["clock_offset_seconds"]) == (True, {"room": "2"}, -1.5)
    assert (info["gpu_enabled"], info["has_gpu"], info["max_active_jobs"], info["version"]) == (True, True, 7, "20.10")
    assert (info["active_job_count"], info["active_jobs"], info["active_job_status"]) == (1, ["j"], "running")
    assert told["local"]["info"]["has_gpu"] is False


def test_a_host_that_cannot_be_used_says_why(stage: Stage) -> None:
    told = hosts(stage, local={}, far={"online": True, "usable": False, "message": "has another volume"})
    assert told["far"]["info"]["usable"] is False
    assert told["far"]["info"]["message"] == "has another volume"


def test_both_web_clients_read_the_names(stage: Stage) -> None:
    hosts(stage, local={}, far={})
    assert stage.get("/hosts").json()["available_hosts"] == [
        {"name": "far", "host": "far"},
        {"name": "local", "host": "local"},
    ]
    newer = stage.get("/hosts", headers={"Content-Type": "application/json"})
    assert newer.json()["available_hosts"] == ["far", "local"]


def test_there_is_always_a_local_host(stage: Stage) -> None:
    told = stage.get("/hosts").json()["hosts"]
    assert (list(told), told["local"]["online"], isinstance(told["local"]["info"], dict)) == (["local"], False, True)


# -- images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"images": [1, {"name": 5}, null]}', '{"images": 5}'])
def test_the_default_tag_is_there_whatever_the_operator_told(stage: Stage, content: str | None) -> None:
    if content is not None:
        stage.operator.writes("state/images.json", content)
    told = versions(stage)
    assert (told["repository"], told["count"], told["cached"]) == ("calof/opeva_simulator", 1, True)
    assert told["tags"] == [{"name": "latest", "hosts": []}]
    assert isinstance(told["fetched_at"], float)


def test_tags_come_newest_first_behind_the_default(stage: Stage) -> None:
    images = [
        image("calof/opeva_simulator:v1", "2026-01-01T00:00:00Z", "local", digest="calof/opeva_simulator@sha256:abc"),
        image("calof/opeva_simulator:v1", "2025-01-01T00:00:00Z", "far"),
        image("docker.io/calof/opeva_simulator:v2", "2026-02-01T00:00:00Z"),
        image("calof/opeva_simulator:latest", "2025-06-01T00:00:00Z"),
        image("calof/other:v9"),
    ]
    stage.operator.writes("state/images.json", {"at": AT, "images": images})
    told = versions(stage)
    assert [tag["name"] for tag in told["tags"]] == ["latest", "v2", "v1"]
    assert told["tags"][2] == {
        "name": "v1", "last_updated": "2026-01-01T00:00:00Z", "digest": "sha256:abc", "hosts": ["far", "local"],
    }  # fmt: skip
    assert told["fetched_at"] == 1769860800
    assert [tag["name"] for tag in versions(stage, limit=2)["tags"]] == ["latest", "v2"]
    assert [tag["name"] for tag in versions(stage, repository="calof/other")["tags"]] == ["v9"]


def test_the_default_image_is_a_setting(tmp_path: Path) -> None:
    with staged(tmp_path, default_image="registry.example.org:5000/sim:v3") as stage:
        told = versions(stage)
        assert (told["repository"], told["tags"][0]["name"]) == ("registry.example.org:5000/sim", "v3")


def test_a_limit_out_of_bounds_is_refused(stage: Stage) -> None:
    assert stage.get("/job-images/versions?limit=0").status_code == 422
