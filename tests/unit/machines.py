"""Hosts on fake engines, as the operator knows them."""

from pathlib import Path
from typing import Any

from opeva_operator.fleet import make_hosts
from opeva_operator.hosts import Hosts, Surroundings
from opeva_operator.testing import FakeClock, FakeEngine
from opeva_specs.hostsfile import HostEntry, HostsFile
from opeva_specs.settings import Settings
from opeva_specs.volume import SharedVolume


class Fleet:
    """The local host and some others, each with a fake engine; `woken` and `capacities` are what they told."""

    def __init__(self, root: Path, *others: str, **settings: Any) -> None:
        self.volume = SharedVolume(root)
        self.volume.make_folders()
        self.volume.write("state/instance.json", b'{"id": "ours"}', durable=False)
        self.clock = FakeClock()
        self.engines: dict[str, FakeEngine] = {}
        self.woken: list[str] = []
        self.woken_later: list[str] = []
        self.capacities: dict[str, Any] = {}
        entries = [HostEntry(name=name, url=f"unix:///{name}.sock", shared_data=str(root)) for name in others]
        parts = Surroundings(
            settings=Settings(shared_data=root, **settings), instance="ours", volume=self.volume, clock=self.clock,
            wake=self.woken.append, wake_all=self._wake_all, set_capacity=self.capacities.__setitem__,
        )  # fmt: skip
        self.hosts: Hosts = make_hosts(
            HostsFile(hosts=tuple(entries)), parts, self._engine, lambda: str(root), lambda: "boot-1"
        )

    def _wake_all(self, host: str, after_seconds: float) -> None:
        (self.woken_later if after_seconds else self.woken).append(host)

    def _engine(self, instance: str, at: HostEntry) -> FakeEngine:
        self.engines[at.name] = FakeEngine(instance, self.clock)
        return self.engines[at.name]
