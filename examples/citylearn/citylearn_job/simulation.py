"""The steps of a run, driven here so that progress can be told and a stop is felt at once."""

import logging
import time
from collections.abc import Callable
from typing import Any

from citylearn_job.progress import Progress, Status
from citylearn_job.results import Kpis, kpis

log = logging.getLogger(__name__)

LOGGED_SHARES = 10  # a line in the log for each tenth of an episode


def simulate(agent: Any, world: Any, episodes: int, delay: float, tell: Callable[[Progress], None]) -> None:
    """Runs every episode to its end and tells the progress after each step."""
    steps = world.time_steps - 1
    for episode in range(1, episodes + 1):
        reward = 0.0
        observations = world.reset()
        for step in range(1, steps + 1):
            actions = agent.predict(observations)
            following, rewards, _, _ = world.step(actions)
            agent.update(observations, actions, rewards, following, done=world.done)
            observations = following
            reward += float(sum(rewards))
            progress = Progress(
                status=Status.RUNNING, episode=episode, episodes=episodes, step=step, steps=steps, reward=reward
            )
            tell(progress)
            _log_share(progress)
            time.sleep(delay)


def key_figures(world: Any) -> Kpis:
    """Returns CityLearn's cost functions, each relative to the same buildings without control."""
    table = world.evaluate()
    return kpis(zip(table["name"], table["cost_function"], table["value"], strict=True))


def _log_share(progress: Progress) -> None:
    share, steps = max(1, progress.steps // LOGGED_SHARES), progress.steps
    if progress.step % share == 0 or progress.step == steps:
        log.info(
            "episode %d of %d: step %d of %d, reward %.3f",
            progress.episode,
            progress.episodes,
            progress.step,
            steps,
            progress.reward,
        )
