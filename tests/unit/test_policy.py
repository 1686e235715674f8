"""What may not run here, whichever way it came in."""

from typing import Any

import pytest

from opeva_specs.model import SimulationJob
from opeva_specs.policy import denied


def job(labels: dict[str, str] | None = None, **spec: Any) -> SimulationJob:
    body = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": "a", "labels": labels or {}}}
    return SimulationJob.model_validate({**body, "spec": {"args": ["x"], **spec}})


@pytest.mark.parametrize("network", ["host", "container:mlflow", "container:", "service:api"])
def test_a_network_that_is_not_the_jobs_own_is_denied(network: str) -> None:
    words = denied(job(network=network))
    assert words is not None
    assert repr(network) in words and "name a Docker network" in words


@pytest.mark.parametrize("network", [None, "opeva_network", "bridge", "none", "hostile", "containers"])
def test_a_network_of_containers_is_allowed(network: str | None) -> None:
    assert denied(job(**({"network": network} if network else {}))) is None


def test_the_operators_own_labels_are_denied() -> None:
    words = denied(job(labels={"team": "x", "opeva.io/instance": "mine"}))
    assert words is not None and "'opeva.io/instance'" in words


def test_other_labels_are_allowed() -> None:
    assert denied(job(labels={"example.org/opeva.io": "x"})) is None
