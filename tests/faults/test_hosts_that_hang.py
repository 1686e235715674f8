"""The operator with all its threads, on fake engines that keep their callers waiting."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import yaml
from tests.unit.simulation import IMAGE, document

from opeva_operator.engine import Engine
from opeva_operator.local import Operator
from opeva_operator.testing import FakeEngine
from opeva_specs.hostsfile import LOCAL, HostEntry
from opeva_specs.settings import Settings

PATIENCE = 10.0


class Threaded:
    """An operator with its threads, on the local engine and on that of `tower`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        file = root.with_name("hosts.yaml")
        tower = {"name": "tower", "url": "unix:///run/tower.sock", "sharedData": str(root), "capacity": {"jobs": 50}}
        file.write_text(yaml.safe_dump({"hosts": [tower]}))
        self.engines: dict[str, FakeEngine] = {}
        for name in (LOCAL, "tower"):
            self.engines[name] = FakeEngine("unnamed", lambda: datetime.now(UTC))
            self.engines[name].have_image(IMAGE)
        self.settings = Settings(
            shared_data=root, default_image=IMAGE, min_free_bytes=0, hosts=str(file), max_concurrent_jobs=50,
            resync_seconds=1, poll_seconds=1,
        )  # fmt: skip
        self.operator = Operator(self.settings, self._connect)

    def _connect(self, instance: str, at: HostEntry) -> Engine:
        self.engines[at.name].instance = instance
        return self.engines[at.name]

    def restart(self) -> None:
        """Start another operator on what this one left."""
        self.operator.stop()
        self.operator = Operator(self.settings, self._connect)
        self.operator.start()

    def run(self, name: str, host: str = LOCAL) -> None:
        fresh = self.root / f"specs/.{name}.new"
        fresh.write_text(document(name, targetHost=host))
        fresh.rename(self.root / f"specs/{name}.yaml")

    def phase(self, name: str) -> str:
        file = self.root / f"status/{name}.json"
        return str(orjson.loads(file.read_bytes())["status"]["phase"]) if file.exists() else "-"

    def close(self) -> None:
        for engine in self.engines.values():
            engine.is_reachable = False
            for gate in engine._gates.values():
                gate.set()
            engine.break_streams()
        self.operator.stop()


@pytest.fixture
def threaded(tmp_path: Path) -> Iterator[Threaded]:
    made = Threaded(tmp_path / "volume")
    try:
        yield made
    finally:
        made.close()


def eventually(claim: Callable[[], bool], within: float = PATIENCE) -> None:
    deadline = time.monotonic() + within
    while not claim():
        assert time.monotonic() < deadline, f"not so within {within} s"
        time.sleep(0.02)


def test_calls_that_hang_on_one_host_leave_workers_and_the_timekeeper_to_the_others(threaded: Threaded) -> None:
    threaded.operator.start()
    for number in range(12):
        threaded.run(f"far-{number}", "tower")
    eventually(lambda: all(threaded.phase(f"far-{number}") == "Running" for number in range(12)), 20)
    for method in ("find", "list", "ping", "info"):
        threaded.engines["tower"].hold(method)
    for number in range(12):
        threaded.operator._queue.add(f"far-{number}")
    threaded.operator.resync()
    began = time.monotonic()
    for number in range(12):
        threaded.run(f"near-{number}")
    eventually(lambda: all(threaded.phase(f"near-{number}") == "Running" for number in range(12)))
    assert time.monotonic() - began < 5
    told = (threaded.root / "state/hosts.json").stat().st_mtime_ns
    eventually(lambda: (threaded.root / "state/hosts.json").stat().st_mtime_ns > told)  # by the timekeeper
    assert all(threaded.phase(f"far-{number}") == "Running" for number in range(12))


def test_an_operator_that_starts_beside_a_host_that_hangs_is_synced_and_ends_in_time(threaded: Threaded) -> None:
    threaded.operator.start()
    threaded.run("far", "tower")
    eventually(lambda: threaded.phase("far") == "Running", 20)
    for method in ("events", "find", "list", "ping", "info"):
        threaded.engines["tower"].hold(method)
    threaded.restart()
    threaded.run("near")
    eventually(lambda: threaded.operator.is_synced, 5)
    eventually(lambda: threaded.phase("near") == "Running", 5)
    assert threaded.phase("far") == "Running"
    began = time.monotonic()
    threaded.operator.stop()
    assert time.monotonic() - began < 10
