"""A volume that is full, or may not be written, or whose files are damaged: jobs unharmed, and healed afterwards."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.harness import Site, consistently, site_on
from tests.e2e.jobs import SLEEP

pytestmark = pytest.mark.docker


@pytest.fixture
def small(tmp_path: Path, network: str) -> Iterator[Site]:
    """A site on a small file system of its own."""
    root = tmp_path / "volume"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=2000", "tmpfs", str(root)], check=True)
    try:
        with site_on(root, network) as site:
            yield site
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


def fill_space(root: Path) -> None:
    with pytest.raises(OSError, match="No space"), (root / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def fill_inodes(root: Path) -> None:
    (root / "fillers").mkdir()
    with pytest.raises(OSError, match="No space"):
        for number in range(3000):
            (root / "fillers" / str(number)).touch()


def refuse_writes(root: Path) -> None:
    subprocess.run(["chattr", "-R", "+i", str(root / "status"), str(root / "state/jobs")], check=True)


def free(root: Path) -> None:
    subprocess.run(["chattr", "-R", "-i", str(root / "status"), str(root / "state/jobs")], check=True)
    (root / "filler").unlink(missing_ok=True)
    for filler in (root / "fillers").glob("*"):
        filler.unlink()


@pytest.mark.parametrize("harm", [fill_space, fill_inodes, refuse_writes])
def test_a_volume_that_takes_no_writes_harms_no_job(small: Site, harm: Callable[[Path], None]) -> None:
    small.run("live", SLEEP)
    small.run("brief", "echo before; sleep 3; echo after; exit 3")
    small.until("live", "Running")
    small.until("brief", "Running")
    harm(small.root)
    container = small.container("brief")
    small.until_true(lambda: not small.client.inspect_container(container)["State"]["Running"], "the brief job is over")

    def is_whole() -> bool:
        for path in (small.root / "status").glob("*.json"):
            json.loads(path.read_text())
        found = small.status("brief").phase in ("Running", "Failed")
        return found and (small.status("brief").phase == "Failed" or bool(small.containers("brief")))

    consistently(is_whole, "every status is whole, and no container is removed before its end is told", 3)
    assert small.client.inspect_container(small.container("live"))["State"]["Running"]
    assert small.process.poll() is None
    free(small.root)
    told = small.until("brief", "Failed", "ExitNonZero")
    assert told.attempt["exitCode"] == 3
    assert (small.root / "jobs/brief/logs/container.log").read_text() == "before\nafter\n"
    small.run("later")
    small.until_ended("later")
    small.until_true(lambda: small.containers("brief") == [], "its container is removed")
    assert {name: small.runs(name) for name in ("live", "brief", "later")} == {"live": 1, "brief": 1, "later": 1}
    assert small.status("live").phase == "Running"


def test_a_full_volume_stops_nothing_from_being_started_after_a_restart(small: Site) -> None:
    small.run("live", SLEEP)
    small.until("live", "Running")
    small.run("ended", "exit 3")
    small.until_ended("ended")
    fill_space(small.root)
    small.kill()
    free(small.root)
    small.start()
    assert small.status("live").phase == "Running"
    assert small.status("ended").outcome == ("Failed", "ExitNonZero")
    assert {name: small.runs(name) for name in ("live", "ended")} == {"live": 1, "ended": 1}


GARBAGE = {"torn": b'{"apiVersion": "opeva.io/v1", "ki', "empty": b"", "binary": b"\x00\xff\xfe", "other": b"[1, 2]"}


@pytest.mark.parametrize("garbage", [*GARBAGE.values(), None], ids=[*GARBAGE, "removed"])
def test_a_status_file_that_is_damaged_is_told_anew(site: Site, garbage: bytes | None) -> None:
    site.run("live", SLEEP)
    site.run("ended", "exit 3")
    site.until("live", "Running")
    site.until_ended("ended")
    container = site.container("live")
    site.kill()
    for name in ("live", "ended"):
        path = site.root / f"status/{name}.json"
        path.unlink()
        if garbage is not None:
            path.write_bytes(garbage)
    site.start()
    assert site.until("live", "Running").generation == 1
    assert site.until("ended", "Failed", "ExitNonZero").attempt["exitCode"] == 3
    path = site.root / "status/live.json"
    path.unlink() if garbage is None else path.write_bytes(garbage)

    def is_told() -> bool:
        try:
            told = site.status("live")
            return told is not None and told.phase == "Running"
        except (ValueError, TypeError):
            return False

    site.until_true(is_told, "the live job's status is told anew while the operator runs")
    assert site.container("live") == container
    assert {name: site.runs(name) for name in ("live", "ended")} == {"live": 1, "ended": 1}
