"""Sites for tests on the real engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import harness
from tests.e2e.harness import Site
from tests.e2e.jobs import SLEEP


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


@pytest.fixture
def full(site: Site) -> Site:
    """A site whose only place is taken: what comes now is queued."""
    site.restart(OPEVA_MAX_CONCURRENT_JOBS="1")
    site.run("blocker", SLEEP)
    site.until("blocker", "Running")
    return site
