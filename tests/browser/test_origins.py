"""Web clients of other origins: those on the list use the whole API, others reach nothing."""

from typing import Any

import pytest
from playwright.sync_api import Error, Page

from opeva_api.testing import Stage
from opeva_specs.status import Phase

JSON = {"Content-Type": "application/json"}
CONFIG = {"experiment": {"name": "Grid", "run_name": "first"}}
# As the newer web client asks: a JSON content type on every request, bodies or not.
FETCH = """async ([url, method, body, headers]) => {
    const answer = await fetch(url, {method, headers, body: body === null ? undefined : JSON.stringify(body)})
    const text = await answer.text()
    return {status: answer.status, text, headers: Object.fromEntries(answer.headers)}
}"""


def fetch(page: Page, stage: Stage, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    """What a script on the page gets to read."""
    found: dict[str, Any] = page.evaluate(FETCH, [f"{stage.client.base_url}{path}", method, body, {**JSON, **headers}])
    return found


@pytest.fixture
def client(page: Page, client_origin: str) -> Page:
    """A tab that shows the web client."""
    page.goto(client_origin)
    return page


def test_a_listed_client_reads_jobs_and_our_headers(client: Page, stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.shows("j", "running")
    answer = fetch(client, stage, "GET", "/jobs")
    assert answer["status"] == 200
    assert '"job_id":"j"' in answer["text"]
    assert answer["headers"]["x-total-count"] == "1"
    assert float(answer["headers"]["x-opeva-heartbeat-age"]) >= 0


def test_a_listed_client_reads_where_a_log_goes_on(client: Page, stage: Stage) -> None:
    stage.operator.tells("j", Phase.FINISHED)
    stage.operator.writes("jobs/j/logs/j.log", "one\ntwo\n")
    stage.shows("j", "finished")
    answer = fetch(client, stage, "GET", "/logs/j?offset=4")
    assert (answer["text"], answer["headers"]["x-opeva-log-next-offset"]) == ("two\n", "8")
    assert answer["headers"]["x-opeva-log-source"]


def test_a_listed_client_submits_once_with_a_key(client: Page, stage: Stage) -> None:
    answers = [
        fetch(client, stage, "POST", "/run-simulation", {"config": CONFIG}, **{"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert [answer["status"] for answer in answers] == [200, 200]
    assert '"status":"queued"' in answers[0]["text"]
    assert len(stage.get("/jobs").json()) == 1


def test_a_listed_client_stops_and_deletes(client: Page, stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.shows("j", "running")
    with stage.operator.obeying():
        stopped = fetch(client, stage, "POST", "/stop/j")
        deleted = fetch(client, stage, "DELETE", "/job/j")
    assert (stopped["status"], deleted["status"]) == (200, 200)
    assert '"status":"stopped"' in stopped["text"]
    assert '"message":"deleted"' in deleted["text"]


def test_a_listed_client_replaces_a_config(client: Page, stage: Stage) -> None:
    stage.operator.writes("configs/a.yaml", "experiment: {name: Old}\n")
    answer = fetch(client, stage, "PUT", "/experiment-config/a.yaml", {"config": CONFIG})
    assert answer["status"] == 200
    assert "Grid" in fetch(client, stage, "GET", "/experiment-config/a.yaml")["text"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/status/unknown", None, 404),
        ("GET", "/jobs?limit=x", None, 422),
        ("POST", "/run-simulation", {"config_path": "missing.yaml"}, 400),
        ("DELETE", "/job/unknown", None, 404),
    ],
)
def test_a_listed_client_reads_why_not(
    client: Page, stage: Stage, method: str, path: str, body: Any, status: int
) -> None:
    answer = fetch(client, stage, method, path, body)
    assert (answer["status"], '"detail":"' in answer["text"]) == (status, True)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/jobs", None), ("POST", "/run-simulation", {"config": CONFIG}), ("DELETE", "/job/j", None)],
)
def test_another_origin_reaches_nothing(
    page: Page, stage: Stage, other_origin: str, method: str, path: str, body: Any
) -> None:
    stage.operator.tells("j", Phase.FINISHED)
    stage.shows("j", "finished")
    page.goto(other_origin)
    with pytest.raises(Error, match="Failed to fetch"):
        fetch(page, stage, method, path, body)
    assert [job["job_id"] for job in stage.get("/jobs").json()] == ["j"]
    assert stage.operator.control.names() == []


def test_another_origin_cannot_read_even_without_asking_first(page: Page, stage: Stage, other_origin: str) -> None:
    page.goto(other_origin)
    with pytest.raises(Error, match="Failed to fetch"):
        page.evaluate("async url => (await fetch(url)).text()", f"{stage.client.base_url}/jobs")


def test_another_origin_submits_nothing_by_a_plain_form(page: Page, stage: Stage, other_origin: str) -> None:
    """Text needs no preflight, so the API itself must refuse it."""
    page.goto(other_origin)
    post = """url => fetch(url, {method: 'POST', mode: 'no-cors', body: '{"config": {}}'}).then(() => true)"""
    assert page.evaluate(post, f"{stage.client.base_url}/run-simulation")
    assert stage.get("/jobs").json() == []
