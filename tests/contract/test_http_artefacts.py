"""What jobs leave behind, listed and downloaded: all of it, and nothing else, whatever a job plants."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opeva_api import tree
from opeva_api.testing import Stage, staged
from opeva_specs.status import Phase

SECRET = "a secret of another place"
SESSIONS = "jobs/j/results/simulation_data"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "secret.csv").write_text(SECRET)
    with staged(tmp_path / "volume") as found:
        found.operator.tells("j", Phase.FINISHED)
        found.shows("j", "finished")
        yield found


def root(stage: Stage) -> Path:
    return stage.operator.volume.root


def index(stage: Stage, **more: Any) -> Any:
    return stage.post("/simulation-data/index", {"job_id": "j"} | more)


def table(stage: Stage, path: str, **more: Any) -> Any:
    return stage.post("/simulation-data/file", {"job_id": "j", "relative_path": path} | more)


# -- files -----------------------------------------------------------------------------------------------------------


def test_all_files_of_a_job_are_listed(stage: Stage) -> None:
    assert stage.get("/jobs/j/files").json() == {"job_id": "j", "files": [], "count": 0, "truncated": False}
    stage.operator.writes("jobs/j/results/deep/er/model.onnx", b"\0\1")
    stage.operator.writes("jobs/j/logs/j.log", "line\n")
    told = stage.get("/jobs/j/files").json()
    assert [(file["path"], file["size"]) for file in told["files"]] == [
        ("logs/j.log", 5),
        ("results/deep/er/model.onnx", 2),
    ]
    assert told["files"][0]["modified_at"] > 1.7e9


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("results/kpis.csv", "text/csv; charset=utf-8"),
        ("results/result.json", "application/json"),
        ("logs/j.log", "text/plain; charset=utf-8"),
        ("config.resolved.yaml", "text/yaml; charset=utf-8"),
        ("bundle/model.onnx", "application/octet-stream"),
        ("plot.png", "image/png"),
        ("report.html", "application/octet-stream"),
        ("drawing.svg", "application/octet-stream"),
        ("no-suffix", "application/octet-stream"),
    ],
)
def test_a_file_is_downloaded_as_it_is_and_never_shown_as_a_page(stage: Stage, path: str, media_type: str) -> None:
    content = os.urandom(1000)
    stage.operator.writes(f"jobs/j/{path}", content)
    answer = stage.get(f"/jobs/j/files/{path}")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-length"] == "1000"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{path.rpartition("/")[2]}"')


def test_a_large_file_comes_whole_and_in_pieces(stage: Stage) -> None:
    content = os.urandom(5 * 2**20 + 7)
    stage.operator.writes("jobs/j/large.bin", content)
    with stage.client.stream("GET", "/jobs/j/files/large.bin", headers={"Range": "bytes=0-1,3-4"}) as answer:
        assert answer.status_code == 200
        pieces = list(answer.iter_raw())
    assert b"".join(pieces) == content
    assert len(pieces) > 1


def test_an_odd_name_is_kept_and_can_break_no_header(stage: Stage) -> None:
    stage.operator.writes('jobs/j/é "x";.txt', "a")
    path = stage.get("/jobs/j/files").json()["files"][0]["path"]
    answer = stage.get(f"/jobs/j/files/{path}")
    assert answer.text == "a"
    assert "filename*=UTF-8''%C3%A9%20%22x%22%3B.txt" in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "path",
    [
        "%2e%2e/k/logs/k.log",
        "..%2f..%2fspecs/.opeva",
        "logs/..%2f..%2fk",
        "logs%5c..%5cx",
        "a%00b",
        "%2fetc%2fpasswd",
        "logs",
    ],
)
def test_no_path_leads_out_of_the_jobs_folder(stage: Stage, path: str) -> None:
    stage.operator.writes("jobs/k/logs/k.log", SECRET)
    stage.operator.writes("jobs/j/logs/j.log", "mine")
    stage.operator.writes("specs/.opeva", SECRET)
    answer = stage.get(f"/jobs/j/files/{path}")
    assert answer.status_code in (400, 404)
    assert isinstance(answer.json()["detail"], str)


def test_planted_links_and_pipes_are_neither_listed_nor_served(stage: Stage) -> None:
    folder = root(stage) / "jobs/j"
    (folder / "results").mkdir(parents=True)
    (folder / "results/link.csv").symlink_to(root(stage).parent / "secret.csv")
    (folder / "elsewhere").symlink_to(root(stage).parent)
    os.mkfifo(folder / "results/pipe.csv")
    stage.operator.writes("jobs/j/results/real.csv", "1")
    assert [file["path"] for file in stage.get("/jobs/j/files").json()["files"]] == ["results/real.csv"]
    for path in ("results/link.csv", "elsewhere/secret.csv", "results/pipe.csv"):
        answer = stage.get(f"/jobs/j/files/{path}")
        assert (answer.status_code, SECRET in answer.text) == (404, False)


def test_a_folder_that_turns_into_a_link_while_it_is_listed_is_not_entered(stage: Stage) -> None:
    folder = root(stage) / "jobs/j"
    folder.mkdir()
    (folder / "link").symlink_to(root(stage).parent)
    walk = tree._Walk(100)
    with stage.operator.volume.folder("jobs/j") as fd:
        walk._enter(fd, "link", "link/", 1)
    assert walk.found == []


def test_a_folder_without_end_is_listed_up_to_a_bound(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    (root(stage) / "jobs/j").joinpath(*["d"] * 40).mkdir(parents=True)
    stage.operator.writes(f"jobs/j/{'d/' * 40}x", "1")
    for n in range(3):
        stage.operator.writes(f"jobs/j/f{n}", "1")
    told = stage.get("/jobs/j/files").json()
    assert (told["count"], told["truncated"]) == (3, True)
    assert len(tree.listed(stage.operator.volume, "jobs/j", 2).files) == 2


def test_a_job_that_nobody_knows_has_no_files(stage: Stage) -> None:
    stage.operator.writes("jobs/k/x", SECRET)
    assert stage.get("/jobs/k/files").status_code == 404
    assert stage.get("/jobs/k/files/x").status_code == 404


# -- the config ------------------------------------------------------------------------------------------------------


def test_the_config_is_the_one_that_was_accepted(stage: Stage) -> None:
    assert stage.get("/job-resolved-config/j").status_code == 404
    stage.operator.writes("state/jobs/j/config.yaml", "a: &x 1  # as it was\nb: *x\n")
    stage.operator.writes("jobs/j/config.resolved.yaml", "forged: true")
    answer = stage.get("/job-resolved-config/j")
    assert answer.text == "a: &x 1  # as it was\nb: *x\n"
    assert answer.headers["content-type"] == "text/yaml; charset=utf-8"
    assert stage.get("/job-resolved-config/nobody").status_code == 404


def test_job_info_says_whether_there_is_one(stage: Stage) -> None:
    assert stage.get("/job-info/j").json()["resolved_config_available"] is False
    stage.operator.tells("j", Phase.RUNNING, config_digest="c" * 64)
    stage.shows("j", "running")
    assert stage.get("/jobs").json()[0]["job_info"]["resolved_config_available"] is True


# -- simulation data -------------------------------------------------------------------------------------------------


def export(stage: Stage, session: str, at: int, **files: str) -> None:
    for name, text in files.items():
        stage.operator.writes(f"{SESSIONS}/{session}/{name}.csv", text)
    os.utime(root(stage) / SESSIONS / session, (at, at))


def test_the_newest_session_is_indexed_with_its_days(stage: Stage) -> None:
    export(stage, "one", 1, community="timestamp,value\n2024-08-01T00:00:00Z,1\n")
    export(
        stage,
        "two",
        2,
        community='timestamp,value\n2024-08-02T00:00:00Z,1\n"2024-08-03",2\n,2024-99-99,\n',
        kpis="a,b\n",
    )
    stage.operator.writes(f"{SESSIONS}/two/notes.txt", "2024-01-01 not a table")
    os.utime(root(stage) / SESSIONS / "two", (2, 2))
    told = index(stage, session="latest").json()
    assert (told["session"], told["files"]) == ("two", ["community.csv", "kpis.csv"])
    assert told["available_days"] == ["2024-08-02", "2024-08-03"]
    assert told["root_path"] == f"/data/{SESSIONS}/two"
    assert told["sessions"] == ["two", "one"]
    assert index(stage, session="one").json()["available_days"] == ["2024-08-01"]


def test_a_job_without_simulation_data_says_so(stage: Stage) -> None:
    for answer in (index(stage), index(stage, session="one"), table(stage, "a.csv")):
        assert (answer.status_code, isinstance(answer.json()["detail"], str)) == (404, True)


def test_a_table_comes_from_its_session_or_else_from_the_jobs_folder(stage: Stage) -> None:
    export(stage, "one", 1, kpis="a,b\n1,2\n")
    stage.operator.writes("jobs/j/bundle/artifact_manifest.json", '{"version": 1}')
    answer = table(stage, "kpis.csv")
    assert (answer.text, answer.headers["content-type"]) == ("a,b\n1,2\n", "text/csv; charset=utf-8")
    assert table(stage, "one/kpis.csv").text == "a,b\n1,2\n"
    assert table(stage, "bundle/artifact_manifest.json", session="one").json() == {"version": 1}


@pytest.mark.parametrize("path", ["../../x", "/etc/passwd", "a/../b", "", "a\\b", "a\u0000b"])
def test_a_table_of_another_place_is_refused(stage: Stage, path: str) -> None:
    export(stage, "one", 1, kpis="a")
    answer = table(stage, path)
    assert answer.status_code == 400
    assert "relative_path" in answer.json()["detail"]


@pytest.mark.parametrize("session", ["..", "../..", "one/../..", "."])
def test_a_session_of_another_place_is_not_found(stage: Stage, session: str) -> None:
    export(stage, "one", 1, kpis="a")
    assert index(stage, session=session).status_code == 404


def test_a_session_that_is_a_link_is_none(stage: Stage) -> None:
    (root(stage) / SESSIONS).mkdir(parents=True)
    (root(stage) / SESSIONS / "one").symlink_to(root(stage).parent)
    assert index(stage).status_code == 404
    assert SECRET not in table(stage, "secret.csv", session="one").text


@pytest.mark.parametrize("body", [{}, {"job_id": 5}, {"job_id": "nobody"}, {"job_id": "../k"}])
def test_without_a_job_there_are_no_data(stage: Stage, body: dict[str, Any]) -> None:
    answer = stage.post("/simulation-data/index", body)
    assert answer.status_code == (400 if not isinstance(body.get("job_id"), str) else 404)


def test_a_result_says_whether_there_are_simulation_data(stage: Stage) -> None:
    stage.operator.writes("jobs/j/results/result.json", {"cost": 1})
    assert stage.get("/result/j").json() == {"cost": 1}
    export(stage, "one", 1, kpis="a")
    told = stage.get("/result/j").json()
    assert told == {"cost": 1, "simulation_data_available": True, "simulation_data_session_default": "one"}
