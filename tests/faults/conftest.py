"""Sites for tests on the real engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import harness
from tests.e2e.harness import Site


@pytest.fixture(scope="session")
def network(busybox: str) -> Iterator[str]:
    """A Docker network of this test session; the operator makes it."""
    with harness.network_of_session() as name:
        yield name


@pytest.fixture
def site(tmp_path: Path, network: str) -> Iterator[Site]:
    """A volume of its own with an operator that runs."""
    with harness.site_on(tmp_path / "volume", network) as made:
        yield made
