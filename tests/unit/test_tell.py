"""The derived files: true, and written only when they change."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.unit.machines import Fleet
from tests.unit.situations import ago, ended, running, status

from opeva_operator.engine import EngineUnreachable
from opeva_operator.roster import Roster
from opeva_operator.tell import Teller
from opeva_operator.testing import FakeClock
from opeva_specs.admission import Capacity, Line
from opeva_specs.settings import Settings
from opeva_specs.terms import Demand
from opeva_specs.volume import SharedVolume


class Desk:
    """A teller over a roster with one job of each kind."""

    def __init__(self, root: Path) -> None:
        self.volume = SharedVolume(root)
        self.volume.make_folders()
        self.clock = FakeClock()
        self.roster = Roster(Line({"local": Capacity(jobs=4)}), Demand(), lambda name: None)
        settings = Settings(shared_data=root, max_concurrent_jobs=3)
        self.teller = Teller(self.volume, settings, "0123456789", self.roster, self.clock)
        for name, told in (
            ("run", running()), ("late", status(queued_at=ago(1))), ("early", status(queued_at=ago(9))),
            ("over", ended()), ("gone", ended(hidden=True)),
        ):  # fmt: skip
            self.roster.put(name, told)

    def read(self, path: str) -> Any:
        return orjson.loads((self.volume.root / path).read_bytes())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "data")


def test_the_heartbeat_says_who_where_and_since_when(desk: Desk) -> None:
    desk.clock.advance(5)
    desk.teller.heartbeat(synced=True)
    told = desk.read("state/operator.json")
    assert (told["holder"]["pid"], told["instance"], told["synced"]) == (os.getpid(), "0123456789", True)
    assert (told["startedAt"], told["heartbeat"]) == ("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:05.000000Z")


def test_the_queue_is_told_in_its_order(desk: Desk) -> None:
    desk.teller.jobs()
    assert [row["job_id"] for row in desk.read("state/queue.json")] == ["early", "late"]


def test_the_registry_has_the_old_shape_and_words_and_no_deleted_job(desk: Desk) -> None:
    desk.teller.jobs()
    rows = desk.read("job_track.json")
    assert {name: row["status"] for name, row in rows.items()} == {
        "run": "running", "late": "queued", "early": "queued", "over": "finished"
    }  # fmt: skip
    assert rows["run"]["container_id"] == "c1"
    assert rows["run"]["container_name"] == "opeva-01234567-run"


def test_the_host_keeps_when_it_was_last_seen(desk: Desk, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet", "tower")
    fleet.hosts.local.list_containers()
    desk.teller.hosts(fleet.hosts)
    assert desk.read("state/hosts.json")["tower"]["online"] is False
    seen = desk.read("state/hosts.json")["local"]
    assert (seen["online"], seen["running"], seen["activeJobIds"]) == (True, 1, ["run"])
    desk.clock.advance(60)
    fleet.hosts.local.lost(EngineUnreachable("no answer"))
    desk.teller.hosts(fleet.hosts)
    lost = desk.read("state/hosts.json")["local"]
    assert (lost["online"], lost["lastSeen"]) == (False, seen["lastSeen"])


def test_a_host_that_was_never_seen_has_no_time(desk: Desk, tmp_path: Path) -> None:
    desk.teller.hosts(Fleet(tmp_path / "fleet").hosts)
    assert desk.read("state/hosts.json")["local"]["lastSeen"] is None


def test_nothing_is_written_that_did_not_change(desk: Desk) -> None:
    desk.teller.jobs()
    before = {path: path.stat().st_ino for path in desk.volume.root.rglob("*.json")}
    desk.clock.advance(60)
    desk.teller.jobs()
    assert {path: path.stat().st_ino for path in desk.volume.root.rglob("*.json")} == before


def test_nothing_is_looked_through_while_no_job_has_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.teller.jobs()
    monkeypatch.setattr(desk.roster, "items", lambda: pytest.fail("looked through all jobs"))
    desk.teller.jobs()


def test_a_change_is_told(desk: Desk) -> None:
    desk.teller.jobs()
    desk.roster.put("run", ended())
    desk.roster.put("early", None)
    desk.teller.jobs()
    assert desk.read("job_track.json")["run"]["status"] == "finished"
    assert [row["job_id"] for row in desk.read("state/queue.json")] == ["late"]
