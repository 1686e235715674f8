"""What both web clients rely on when they keep experiment configs, and when they look at hosts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from opeva_api.testing import Stage, staged
from opeva_specs.status import Phase

CONFIG = {"experiment": {"name": "Grid"}, "algorithm": {"rate": 1e-05, "word": "no"}}
AS_JSON = {"Content-Type": "application/json"}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


def create(stage: Stage, name: str, **content: Any) -> Any:
    return stage.post("/experiment-config/create", {"file_name": name, **content})


def test_a_config_made_from_values_is_read_back_in_both_shapes(stage: Stage) -> None:
    made = create(stage, "grid.yaml", config=CONFIG)
    assert (made.status_code, made.json()["file"]) == (200, "grid.yaml")
    values, text = stage.get("/experiment-config/grid.yaml"), stage.get("/experiment-config/grid.yaml", headers=AS_JSON)
    assert values.json() == {"config": CONFIG}
    assert text.headers["content-type"].startswith("text/yaml")
    assert yaml.safe_load(text.text) == CONFIG
    assert "Content-Type" in values.headers["vary"]
    assert "Content-Type" in text.headers["vary"]


def test_a_config_made_from_text_keeps_its_bytes(stage: Stage) -> None:
    text = "# mine\nbase: &b {x: 1}\nother: *b\n"
    assert create(stage, "a.yml", yaml_content=text).status_code == 200
    assert stage.get("/experiment-config/a.yml", headers=AS_JSON).text == text
    refused = stage.get("/experiment-config/a.yml")
    assert refused.status_code == 422
    assert "anchors" in refused.json()["detail"]


def test_configs_are_listed_by_name(stage: Stage) -> None:
    for name in ("b.yaml", "a b.yml", "c.json"):
        create(stage, name, config=CONFIG)
    stage.operator.writes("configs/.hidden.yaml", "x: 1")
    stage.operator.writes("configs/notes.txt", "x")
    (stage.operator.volume.root / "configs/link.yaml").symlink_to("/etc/passwd")
    assert stage.get("/experiment-configs").json() == ["a b.yml", "b.yaml", "c.json"]
    assert stage.get("/experiment-config/c.json").json() == {"config": CONFIG}


def test_creating_never_overwrites_another_config(stage: Stage) -> None:
    assert create(stage, "a.yaml", config=CONFIG).status_code == 200
    assert create(stage, "a.yaml", config=CONFIG).status_code == 200
    assert create(stage, "a.yaml", config={"b": 1}).status_code == 409
    assert stage.get("/experiment-config/a.yaml").json() == {"config": CONFIG}


def test_a_config_is_replaced_by_put_and_only_if_it_is_there(stage: Stage) -> None:
    assert stage.client.put("/experiment-config/a.yaml", json={"yaml_content": "a: 1\n"}).status_code == 404
    create(stage, "a.yaml", config=CONFIG)
    assert stage.client.put("/experiment-config/a.yaml", json={"yaml_content": "a: 1\n"}).status_code == 200
    assert stage.get("/experiment-config/a.yaml").json() == {"config": {"a": 1}}


def test_a_config_is_deleted_once(stage: Stage) -> None:
    create(stage, "a.yaml", config=CONFIG)
    assert stage.client.delete("/experiment-config/a.yaml").json() == {"message": "Config deleted", "file": "a.yaml"}
    assert stage.client.delete("/experiment-config/a.yaml").status_code == 404
    assert stage.get("/experiment-config/a.yaml").status_code == 404


@pytest.mark.parametrize("name", ["", "../x.yaml", "a/b.yaml", ".x.yaml", "a.txt", "a\n.yaml", "é.yaml", None, 5])
def test_a_bad_name_is_refused(stage: Stage, name: Any) -> None:
    answer = create(stage, name, config=CONFIG)
    assert answer.status_code == 400
    assert "cannot name a config" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"config": CONFIG, "yaml_content": "a: 1"},
        {"config": [1]},
        {"yaml_content": 5},
        {"yaml_content": ""},
        {"yaml_content": "- 1"},
        {"yaml_content": "a: ["},
    ],
)
def test_a_bad_config_is_refused_and_not_stored(stage: Stage, content: dict[str, Any]) -> None:
    answer = create(stage, "a.yaml", **content)
    assert answer.status_code == 400
    assert isinstance(answer.json()["detail"], str)
    assert stage.get("/experiment-configs").json() == []


@pytest.mark.parametrize("path", ["/etc/passwd", "target.yaml"])
def test_a_planted_link_is_never_followed(stage: Stage, path: str) -> None:
    stage.operator.writes("configs/target.yaml", "a: 1")
    (stage.operator.volume.root / "configs/x.yaml").symlink_to(path)
    assert stage.get("/experiment-config/x.yaml").status_code == 400
    assert stage.post("/run-simulation", {"config_path": "x.yaml"}).status_code == 400


# -- hosts -----------------------------------------------------------------------------------------------------------


def test_hosts_are_told_in_the_shape_of_each_client(stage: Stage) -> None:
    older, newer = stage.get("/hosts"), stage.get("/hosts", headers=AS_JSON)
    assert older.json()["available_hosts"] == [{"name": "local", "host": "local"}]
    assert newer.json()["available_hosts"] == ["local"]
    assert "Content-Type" in older.headers["vary"]
    assert older.json()["hosts"] == newer.json()["hosts"]


def test_a_host_is_told_with_what_it_does(stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.operator.beats()
    info = {"max_active_jobs": 4}
    local = {"online": True, "lastSeen": "2026-01-31T12:00:00.000000Z", "running": 1, "activeJobIds": ["j"]}
    stage.operator.writes("state/hosts.json", {"local": local | {"info": info}})
    stage.eventually(lambda: bool(stage.get("/hosts").json()["hosts"]["local"]["online"]))
    told = stage.get("/hosts").json()["hosts"]["local"]
    assert told["last_seen"] == 1769860800
    assert (told["running"], told["active_job_ids"], told["current_job_id"]) == (1, ["j"], "j")
    assert (told["current_job_status"], told["info"]["max_active_jobs"]) == ("running", 4)
    assert told["info"]["active_job_count"] == 1


def test_a_host_of_which_nothing_is_known_is_not_online(stage: Stage) -> None:
    told = stage.get("/hosts").json()["hosts"]["local"]
    assert (told["online"], told["last_seen"], told["active_job_ids"]) == (False, None, [])
    assert isinstance(told["info"], dict)
