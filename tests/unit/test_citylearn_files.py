"""What the example simulator tells: results, progress, log, and an MLflow run."""

import json
import logging
import math
import os
import signal
import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "citylearn"
sys.path.insert(0, str(EXAMPLE))

from citylearn_job.folder import JobFolder, replace_json  # noqa: E402
from citylearn_job.logbook import open_log  # noqa: E402
from citylearn_job.progress import Progress, ProgressFile, Status, is_due  # noqa: E402
from citylearn_job.results import kpis  # noqa: E402
from citylearn_job.section import ConfigError  # noqa: E402
from citylearn_job.stop import Stopped  # noqa: E402
from citylearn_job.tracking import links, merge_info, metrics, tracked  # noqa: E402


def test_replacing_a_file_leaves_the_earlier_content_when_the_new_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    replace_json(path, {"a": 1.5}, durable=True)
    with pytest.raises(ValueError, match="JSON"):
        replace_json(path, {"a": math.nan})
    assert json.loads(path.read_text()) == {"a": 1.5}
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_the_file_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress.json"
    replace_json(path, {"step": 1})
    seen: list[str] = []
    replace = Path.replace

    def looking(self: Path, target: Path) -> Path:
        seen.extend([path.read_text(), self.read_text()])
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", looking)
    replace_json(path, {"step": 2})
    assert [json.loads(text)["step"] for text in seen] == [1, 2]


def test_preparing_a_folder_removes_what_an_earlier_run_told(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "a")
    folder.prepare()
    folder.result.write_text("{}")
    folder.log.write_text("kept")
    folder.prepare()
    assert not folder.result.exists()
    assert folder.log.read_text() == "kept"


def test_empty_cells_are_dropped_from_the_key_figures() -> None:
    rows = [
        ("District", "cost", 0.12345678),
        ("District", "ramping", math.nan),
        ("Building_1", "cost", math.inf),
        ("Building_2", "cost", None),
        ("Building_2", "carbon", "0.5"),
    ]
    assert kpis(rows) == {"District": {"cost": 0.123457}, "Building_2": {"carbon": 0.5}}


def test_progress_counts_over_all_episodes() -> None:
    progress = Progress(status=Status.RUNNING, episode=2, episodes=4, step=5, steps=10, reward=-1.5)
    told = progress.document(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert told == {
        "status": "running",
        "step": 15,
        "total": 40,
        "percent": 37.5,
        "progress_pct": 37.5,
        "reward": -1.5,
        "episode_current": 2,
        "episode_total": 4,
        "step_current": 5,
        "step_total": 10,
        "global_step_total": 40,
        "timestamp": "2026-01-02T03:04:05Z",
    }


def test_progress_before_the_data_set_is_loaded_has_no_totals_and_no_nan(tmp_path: Path) -> None:
    progress = ProgressFile(tmp_path / "progress.json")
    progress.tell(Progress(reward=math.nan))
    told = json.loads((tmp_path / "progress.json").read_text())
    assert (told["status"], told["percent"]) == ("initializing", 0.0)
    assert not {"total", "step_total", "reward"} & told.keys()


@pytest.mark.parametrize(
    ("step", "status", "waited", "due"),
    [
        pytest.param(14, Status.RUNNING, 0.1, False, id="four steps at once"),
        pytest.param(15, Status.RUNNING, 0.1, True, id="five steps"),
        pytest.param(11, Status.RUNNING, 1.0, True, id="one slow step"),
        pytest.param(10, Status.STOPPED, 0.0, True, id="a new status"),
    ],
)
def test_progress_is_due(step: int, status: Status, waited: float, due: bool) -> None:
    def at(step: int, status: Status) -> Progress:
        return Progress(status=status, episode=1, episodes=1, step=step, steps=100)

    assert is_due(at(10, Status.RUNNING), at(step, status), waited) is due
    assert is_due(None, at(step, status), 0.0)


def test_the_end_is_told_with_the_step_that_was_reached(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path / "progress.json", clock=lambda: 0.0)
    for step in range(1, 8):
        file.tell(Progress(status=Status.RUNNING, episode=1, episodes=1, step=step, steps=10))
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 6
    file.end(Status.FAILED, "no space")
    told = json.loads((tmp_path / "progress.json").read_text())
    assert (told["step"], told["status"], told["error"]) == (7, "failed", "no space")


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An MLflow that remembers how its run ended; the environment is put back afterwards."""
    fake: Any = types.ModuleType("mlflow")
    fake.ended = []
    fake.params = {}
    fake.set_experiment = lambda name: SimpleNamespace(experiment_id="7")
    fake.start_run = lambda run_name, experiment_id: SimpleNamespace(info=SimpleNamespace(run_id=f"id-of-{run_name}"))
    fake.log_params = fake.params.update
    fake.end_run = lambda status: fake.ended.append(status)
    before = dict(os.environ)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    yield fake
    os.environ.clear()
    os.environ.update(before)


TRACKED = {"MLFLOW_TRACKING_URI": "http://x", "MLFLOW_UI_BASE_URL": "http://ui/"}


@pytest.mark.parametrize(
    ("trouble", "ended"),
    [
        pytest.param(None, "FINISHED", id="to its end"),
        pytest.param(ConfigError("x"), "FAILED", id="failed"),
        pytest.param(Stopped(signal.SIGTERM), "KILLED", id="stopped"),
    ],
)
def test_the_mlflow_run_ends_as_the_job_did(mlflow: Any, trouble: BaseException | None, ended: str) -> None:
    raised: BaseException | None = None
    try:
        with tracked("exp", "name", {"a": 1}, TRACKED) as tracking:
            assert tracking.links["mlflow_run_url"] == "http://ui/#/experiments/7/runs/id-of-name"
            if trouble:
                raise trouble
    except (ConfigError, Stopped) as error:
        raised = error
    assert raised is trouble
    assert (mlflow.ended, mlflow.params) == ([ended], {"a": 1})


def refuse(*_args: Any, **_keywords: Any) -> None:
    raise ConnectionError("server away")


@pytest.mark.parametrize("broken", ["set_experiment", "start_run", "log_params", "log_metrics", "end_run"])
def test_trouble_with_mlflow_is_a_warning_and_nothing_more(
    mlflow: Any, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    mlflow.log_metrics = lambda figures: None
    setattr(mlflow, broken, refuse)
    with tracked("exp", "name", {}, TRACKED) as tracking:
        tracking.log_kpis({"District": {"cost": 1.0}})
    assert [record.levelname for record in caplog.records if "server away" in record.message] == ["WARNING"]


def test_without_a_tracking_uri_mlflow_is_not_touched(mlflow: Any) -> None:
    mlflow.set_experiment = refuse
    with tracked("exp", "name", {}, {}) as tracking:
        assert tracking.links == {}
    assert mlflow.ended == []


def test_no_link_is_told_rather_than_a_dead_one() -> None:
    assert "mlflow_run_url" not in links("r", "e", "")


def test_metric_names_are_ones_that_mlflow_takes() -> None:
    assert metrics({"B": {"1 - load_factor": 1.0, "a%b": 2.0}}) == {"B/1 - load_factor": 1.0, "B/a_b": 2.0}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('{"job_id": "a", "x": null}', {"job_id": "a", "x": None, "k": "v"}, id="keys are kept"),
        pytest.param(None, {"k": "v"}, id="missing"),
        pytest.param('{"job_id": ', '{"job_id": ', id="torn"),
        pytest.param("[]", "[]", id="not a mapping"),
    ],
)
def test_job_info_is_added_to_or_left_alone(tmp_path: Path, before: str | None, after: Any) -> None:
    path = tmp_path / "job_info.json"
    if before is not None:
        path.write_text(before)
    merge_info(path, {"k": "v"})
    text = path.read_text()
    assert (text if isinstance(after, str) else json.loads(text)) == after


def test_all_goes_to_the_log_and_trouble_to_stderr_in_single_lines(tmp_path: Path) -> None:
    stderr = StringIO()
    root = logging.getLogger()
    level = root.level
    try:
        with open_log(tmp_path / "a.log", stderr):
            logging.getLogger("x").info("fine")
            try:
                raise KeyError("k")
            except KeyError:
                logging.getLogger("x").exception("two\nlines")
    finally:
        root.setLevel(level)
    assert stderr.getvalue() == "error: two lines\n"
    text = (tmp_path / "a.log").read_text()
    assert "INFO fine" in text
    assert "KeyError: 'k'" in text
