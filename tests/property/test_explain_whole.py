"""Two hundred situations made on the whole operator: the API names exactly what was put in the job's way."""

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.property.test_operator_properties import fresh_folder
from tests.unit.simulation import Simulation

from opeva_api.explain import explained
from opeva_api.index import Index

BATCHES, EACH = 10, 20
SHORT = {"CpuShort": {"cpu": 7}, "MemoryShort": {"memory": "13Gi"}, "GpuShort": {"gpu": 2}}
AROUND = ("Suspended", "ConfigMissing", "DatasetMissing", "NetworkMissing", "DiskPressure")
NEEDS = {"cpu": 2, "memory": "4Gi", "gpu": 1}
TINY = {"cpu": "1m", "memory": "1Mi"}


class Scene:
    """One situation: what is in the way of the job `target`, and the volume on which it is so."""

    def __init__(self, root: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.s = Simulation(
            root, cpus=8, memory=16 * 2**30, gpus=2, max_concurrent_jobs=8, max_jobs_per_user=2, resync_seconds=1
        )
        self.expected: set[str] = set()
        self.spec: dict[str, Any] = {"submittedBy": "ann", "resources": NEEDS, "args": ["x"]}
        self._choose()

    def _is(self, kind: str, likely: float) -> bool:
        is_so = self.chance.random() < likely
        if is_so:
            self.expected.add(kind)
        return is_so

    def _choose(self) -> None:
        if self._is("BackOff", 0.15):
            self._run("target", backoffLimit=3, **self.spec)
            self.s.finish("target", 3)
            self.s.run()
            self.spec["backoffLimit"] = 3
        self._fill()
        self._surround()
        if not self.expected:
            self.expected.add("Suspended")
            self.spec["suspend"] = True
        if "DiskPressure" in self.expected:
            self.s.restart(min_free_bytes=2**60)
        self.s.drop("target", **self.spec)
        self.s.run()

    def _fill(self) -> None:
        """What runs, and who waits ahead: of the capacity that the target would need."""
        is_short = [self._is(kind, 0.25) for kind in SHORT]
        taken = [kind for kind, is_so in zip(SHORT, is_short, strict=True) if is_so]
        for kind in taken:
            self._run(f"holds-{kind.lower()}", resources={**TINY, **SHORT[kind]})
        mine = 2 if self._is("UserCap", 0.25) else self.chance.choice((0, 1))
        for number in range(mine):
            self._run(f"mine-{number}", submittedBy="ann", resources=TINY)
        if self._is("AtCapacity", 0.25):
            for number in range(8 - len(taken) - mine):
                self._run(f"fills-{number}", submittedBy=f"user-{number}", resources=TINY)
        if self.expected & {*SHORT, "AtCapacity"} and self._is("Ahead", 0.4):
            self.s.drop("ahead", priority=5, submittedBy="eve", resources=NEEDS)
            self.s.run()

    def _surround(self) -> None:
        """What it waits for beside capacity; one that was tried before has its config and its network."""
        chosen = {kind for kind in AROUND if self.chance.random() < 0.2}
        if "BackOff" in self.expected:
            chosen -= {"ConfigMissing", "DatasetMissing", "NetworkMissing"}
        if "ConfigMissing" in chosen:
            chosen.discard("DatasetMissing")
            self.spec |= {"configPath": "absent.yaml"}
        if "DatasetMissing" in chosen:
            self.spec |= {"config": {"simulator": {"dataset_path": "/data/datasets/absent/schema.json"}}}
        if "NetworkMissing" in chosen:
            self.spec |= {"network": "absent"}
        if "Suspended" in chosen:
            self.spec |= {"suspend": True}
        self.expected |= chosen

    def _run(self, name: str, **spec: Any) -> None:
        self.s.drop(name, **{"args": ["x"], "submittedBy": name, **spec})
        self.s.run()
        assert self.s.phase(name) == "Running Running", f"{name}: {self.s.phase(name)}"

    def told(self) -> dict[str, Any]:
        """What the API tells of the target."""
        self.s.operator._tell_rest()
        index = Index(self.s.volume, self.s.settings)
        index.rescan()
        index.lineup.see(orjson.loads((self.s.volume.root / "state/hosts.json").read_bytes()))
        record = index.get("target")
        assert record is not None
        return explained(record, index.lineup)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_exactly_what_is_in_the_way_is_named(batch: int) -> None:
    for seed in range(batch * EACH, (batch + 1) * EACH):
        with fresh_folder() as root:
            scene = Scene(root, seed)
            told = scene.told()
            assert {blocker["kind"] for blocker in told["blockers"]} == scene.expected, f"seed {seed}: {told}"
            assert all(blocker["message"] and blocker["unblocks"] for blocker in told["blockers"]), told


def test_the_situations_hold_every_kind_and_many_together() -> None:
    seen: list[frozenset[str]] = []
    for seed in range(60):
        with fresh_folder() as root:
            seen.append(frozenset(Scene(root, seed).expected))
    assert set().union(*seen) == {*SHORT, *AROUND, "BackOff", "UserCap", "AtCapacity", "Ahead"}
    assert max(map(len, seen)) >= 5
