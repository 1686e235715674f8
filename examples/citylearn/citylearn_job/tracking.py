"""MLflow, when the environment names a server: trouble with it is logged and never ends a run."""

import contextlib
import importlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from citylearn_job.folder import replace_json
from citylearn_job.results import Kpis
from citylearn_job.stop import Stopped

log = logging.getLogger(__name__)

# Defaults for what the environment leaves open. A server that does not answer must cost seconds, where MLflow's
# own limits would cost many minutes; and a store of plain files, as older volumes hold, is fine for one run.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
# Whoever stops a run waits for it: one short try, then the container must go.
HASTE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


class Tracking:
    """One MLflow run, or none: every method may be called either way."""

    def __init__(self, mlflow: Any | None = None, links: Mapping[str, str] | None = None) -> None:
        self._mlflow = mlflow
        self.links = dict(links or {})

    def log_kpis(self, figures: Kpis) -> None:
        """Adds the key figures as metrics."""
        if self._mlflow is not None:
            with _forgiven("log the key figures"):
                self._mlflow.log_metrics(metrics(figures))

    def end(self, status: str) -> None:
        """Closes the run as FINISHED, FAILED or KILLED."""
        if self._mlflow is not None:
            with _forgiven("close the run"):
                self._mlflow.end_run(status=status)


@contextlib.contextmanager
def tracked(experiment: str, run_name: str, params: Mapping[str, object], env: Mapping[str, str]) -> Iterator[Tracking]:
    """Opens a run for the block, and closes it as what the block came to: finished, failed or stopped."""
    tracking = Tracking()
    outcome = "FAILED"
    try:
        if env.get("MLFLOW_TRACKING_URI"):
            with _forgiven("open a run"):
                tracking = _start(experiment, run_name, params, env)
        yield tracking
        outcome = "FINISHED"
    except Stopped:
        outcome = "KILLED"
        os.environ.update(HASTE)
        raise
    finally:
        tracking.end(outcome)


def _start(experiment: str, run_name: str, params: Mapping[str, object], env: Mapping[str, str]) -> Tracking:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    mlflow = importlib.import_module("mlflow")
    # Each retry, and each git command that the image lacks, would be a warning of its own.
    for chatty in ("urllib3", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    found = mlflow.set_experiment(experiment)
    opened = mlflow.start_run(run_name=run_name, experiment_id=found.experiment_id).info.run_id
    with _forgiven("log the parameters"):
        mlflow.log_params(dict(params))
    log.info("MLflow run %s in experiment %s", opened, experiment)
    return Tracking(mlflow, links(opened, found.experiment_id, env.get("MLFLOW_UI_BASE_URL", "")))


def links(run_id: str, experiment_id: str, ui_base: str) -> dict[str, str]:
    """Returns what job_info.json tells of the run; no link rather than a dead one."""
    told = {"mlflow_run_id": run_id, "mlflow_experiment_id": experiment_id}
    if ui_base:
        told["mlflow_run_url"] = f"{ui_base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
    return told


def metrics(figures: Kpis) -> dict[str, float]:
    """Returns the key figures under names that MLflow accepts."""
    return {
        re.sub(r"[^\w\-. /]", "_", f"{building}/{name}"): value
        for building, costs in figures.items()
        for name, value in costs.items()
    }


def merge_info(path: Path, told: Mapping[str, str]) -> None:
    """Adds these keys to job_info.json and keeps all others; a file it cannot read stays as it is."""
    if not told:
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is not a mapping")
        replace_json(path, found | dict(told))
    except FileNotFoundError:
        replace_json(path, dict(told))
    except (OSError, ValueError) as error:
        log.warning("cannot add the MLflow run to %s: %s; the run goes on without", path, error)


@contextlib.contextmanager
def _forgiven(what: str) -> Iterator[None]:
    """Logs whatever goes wrong inside: a run is worth more than its entry in a tracker."""
    try:
        yield
    except Exception as error:
        log.warning("cannot %s with MLflow: %.300s; the run goes on without", what, error)
