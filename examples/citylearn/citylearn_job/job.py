"""One experiment from its config to its key figures."""

import logging
import os
from typing import Any

from citylearn_job.agents import choose, seat
from citylearn_job.config import Config
from citylearn_job.dataset import open_world
from citylearn_job.folder import JobFolder, replace_json
from citylearn_job.progress import ProgressFile, Status
from citylearn_job.simulation import key_figures, simulate
from citylearn_job.tracking import Tracking, merge_info, tracked

log = logging.getLogger(__name__)


def run(config: Config, folder: JobFolder, progress: ProgressFile) -> None:
    """Runs the experiment to its end; afterwards the job's folder holds its key figures."""
    choice = choose(config.algorithm)
    if choice.unused:
        log.info("%s does not use these hyperparameters: %s", choice.name, ", ".join(choice.unused))
    world = open_world(config.simulator, folder.base, choice.bins.observations if choice.bins else None)
    agent, seen = seat(choice, world)
    _log_start(config, folder, world)
    with tracked(_experiment(config), _run_name(config, folder), _params(config, folder), os.environ) as tracking:
        merge_info(folder.info, tracking.links)
        simulate(agent, seen, config.simulator.episodes, config.simulator.step_delay_seconds, progress.tell)
        _publish(world, folder, tracking)
    progress.end(Status.COMPLETED)


def _publish(world: Any, folder: JobFolder, tracking: Tracking) -> None:
    figures = key_figures(world)
    replace_json(folder.result, figures, durable=True)
    log.info("finished: key figures of %s in %s", ", ".join(figures), folder.result)
    tracking.log_kpis(figures)


def _experiment(config: Config) -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or config.experiment.name


def _run_name(config: Config, folder: JobFolder) -> str:
    return os.environ.get("OPEVA_JOB_NAME") or config.experiment.run_name or folder.job_id


def _params(config: Config, folder: JobFolder) -> dict[str, object]:
    hyperparameters = {str(name): value for name, value in config.algorithm.hyperparameters.values.items()}
    return hyperparameters | {
        "job_id": folder.job_id,
        "dataset": config.simulator.dataset_path,
        "episodes": config.simulator.episodes,
        "algorithm": config.algorithm.name,
    }


def _log_start(config: Config, folder: JobFolder, world: Any) -> None:
    log.info(
        "job %s: %s controls %d buildings of %s, %d episodes of %d steps",
        folder.job_id,
        config.algorithm.name,
        len(world.buildings),
        config.simulator.dataset_path,
        config.simulator.episodes,
        world.time_steps - 1,
    )
