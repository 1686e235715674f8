"""What holds for the service as a whole: errors, other origins, health, the first page, the spec language."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opeva_api.testing import Stage, staged
from opeva_specs.parse import parse
from opeva_specs.status import Phase

SPEC = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: a}\nspec: {configPath: x.yaml}\n"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/status", 404),
        ("PATCH", "/jobs", 405),
        ("GET", "/run-simulation", 405),
        ("GET", "/jobs?limit=many", 422),
        ("POST", "/run-simulation", 415),
        ("GET", "/status/a/b", 404),
    ],
)
def test_every_error_is_one_sentence(stage: Stage, method: str, path: str, status: int) -> None:
    answer = stage.client.request(method, path)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    assert answer.headers["content-type"] == "application/json"


def test_a_fault_of_ours_is_one_sentence_that_other_origins_may_read(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "control").rmdir()
    (tmp_path / "control").write_text("not a folder")
    stage.operator.tells("j")
    stage.shows("j", "running")
    answer = stage.client.post("/stop/j", headers={"Origin": "http://localhost:3000"})
    assert answer.status_code == 503
    assert "shared volume" in answer.json()["detail"]
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("path", ["//jobs", "/jobs/", "///jobs//"])
def test_slashes_too_many_are_tolerated(stage: Stage, path: str) -> None:
    assert stage.get(str(stage.client.base_url).rstrip("/") + path).json() == []


# -- other origins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5173", "http://127.0.0.1:8006"])
def test_the_web_clients_may_ask_with_their_headers_for_a_day(stage: Stage, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    answer = stage.client.options("/jobs", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-max-age"] == "86400"
    assert {"GET", "POST", "PUT", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    read = stage.get("/jobs", headers={"Origin": origin})
    assert "X-Opeva-Heartbeat-Age" in read.headers["access-control-expose-headers"]


def test_other_pages_may_not_ask(stage: Stage) -> None:
    answer = stage.get("/jobs", headers={"Origin": "http://evil.example.org"})
    assert "access-control-allow-origin" not in answer.headers
    assert "Origin" in answer.headers["vary"]


def test_origins_are_a_setting(tmp_path: Path) -> None:
    with staged(tmp_path, cors_origins="https://a.example.org, https://b.example.org") as stage:
        answer = stage.get("/jobs", headers={"Origin": "https://b.example.org"})
        assert answer.headers["access-control-allow-origin"] == "https://b.example.org"


# -- health ----------------------------------------------------------------------------------------------------------


def test_health_is_degraded_until_an_operator_is_heard_of(stage: Stage) -> None:
    told = stage.get("/health")
    assert (told.status_code, told.json()["status"]) == (200, "degraded")
    assert "never been heard of" in told.json()["problems"][0]
    assert told.headers["X-Opeva-Heartbeat-Age"] == "unknown"
    stage.operator.beats()
    stage.eventually(lambda: stage.get("/health").json()["status"] == "ok")
    assert float(stage.get("/jobs").headers["X-Opeva-Heartbeat-Age"]) < 10


@pytest.mark.parametrize(
    ("beat", "words"),
    [
        ({"seconds_ago": 60.0}, "silent for 6"),
        ({"engine": {"reachable": False, "message": "no socket"}}, "the engine cannot be reached: no socket"),
        ({"synced": False}, "has not looked at all jobs yet"),
        ({"problems": ["specs/ is not mounted"]}, "specs/ is not mounted"),
    ],
)
def test_health_says_what_is_wrong(stage: Stage, beat: dict[str, Any], words: str) -> None:
    stage.operator.beats(**beat)
    stage.eventually(lambda: words in stage.get("/health").text)
    assert stage.get("/health").json()["status"] == "degraded"


def test_a_torn_heartbeat_leaves_the_last_one(stage: Stage) -> None:
    stage.operator.beats()
    stage.eventually(lambda: stage.get("/health").json()["status"] == "ok")
    stage.operator.writes("state/operator.json", '{"heartb')
    stage.operator.tells("j", Phase.RUNNING)
    stage.shows("j", "running")
    assert stage.get("/health").json()["operator"]["heartbeat_age_seconds"] is not None


# -- first page, schema, validation ----------------------------------------------------------------------------------


def test_the_first_page_suits_who_asks(stage: Stage) -> None:
    assert stage.get("/").json()["links"]["/docs"]
    page = stage.get("/", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    for path in ("/docs", "/jobs", "/health"):
        assert f'href="{path}"' in page.text
        assert stage.get(path).status_code == 200


def test_every_endpoint_is_described(stage: Stage) -> None:
    paths = stage.get("/openapi.json").json()["paths"]
    wanted = "run-simulation jobs status result progress logs file-logs stop job-info job hosts health specs schema"
    assert set(wanted.split()) <= {path.split("/")[1] for path in paths}
    body = paths["/run-simulation"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"config", "config_path", "save_as", "target_host"} <= set(body["properties"])


def test_the_schema_is_served(stage: Stage) -> None:
    answer = stage.get("/schema/simulationjob.json")
    assert "apiVersion" in answer.json()["properties"]


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml", "application/x-yaml", "text/yaml; charset=utf-8"])
def test_a_good_spec_is_valid_and_nothing_is_written(stage: Stage, kind: str) -> None:
    told = stage.client.post("/specs/validate", content=SPEC, headers={"Content-Type": kind}).json()
    digest = parse(SPEC.encode())[0].digest
    assert told == {"valid": True, "jobs": [{"name": "a", "digest": digest}], "errors": []}
    assert stage.get("/jobs").json() == []


def test_a_spec_may_be_json(stage: Stage) -> None:
    job = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": "a"}, "spec": {"args": []}}
    assert stage.post("/specs/validate", job).json()["valid"] is True


@pytest.mark.parametrize("text", ["", "a: [", SPEC.replace("spec:", "spce:"), "&a [*a]", "[" * 50_000, "\x00"])
def test_a_bad_spec_is_told_line_by_line(stage: Stage, text: str) -> None:
    answer = stage.client.post("/specs/validate", content=text, headers={"Content-Type": "application/yaml"})
    told = answer.json()
    assert (answer.status_code, told["valid"], told["jobs"]) == (200, False, [])
    assert set(told["errors"][0]) == {"document", "line", "column", "field", "reason", "message"}
    json.dumps(told, allow_nan=False)
