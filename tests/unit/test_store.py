"""Values in, files out, and back; and what a file that is not ours to trust turns into."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opeva_specs.status import JobStatus, Meta, Observed, Phase, Wish
from opeva_specs.store import ControlStore, Damaged, EventLog, StatusStore
from opeva_specs.volume import SharedVolume

NOW = datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)


@pytest.fixture
def volume(tmp_path: Path) -> SharedVolume:
    volume = SharedVolume(tmp_path)
    volume.make_folders()
    return volume


def status(name: str = "a", message: str = "") -> JobStatus:
    meta = Meta(name=name, generation=1, digest="0" * 64, source="a.yaml")
    return JobStatus(
        metadata=meta, status=Observed(phase=Phase.QUEUED, reason="Accepted", message=message, queued_at=NOW)
    )


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "live"])
def test_a_status_comes_back_as_it_was(volume: SharedVolume, durable: bool) -> None:
    store = StatusStore(volume)
    store.write(status(message="Übung\n😀"), durable=durable)
    assert store.read("a") == status(message="Übung\n😀")
    assert store.names() == ["a"]


def test_a_status_file_is_shaped_like_a_kubernetes_object(volume: SharedVolume) -> None:
    StatusStore(volume).write(status(), durable=False)
    found = json.loads(volume.read("status/a.json", 10_000))
    assert (found["apiVersion"], found["kind"]) == ("opeva.io/v1", "SimulationJob")
    assert found["metadata"]["name"] == "a"
    assert found["status"]["queuedAt"] == "2026-01-31T12:00:00.000001Z"
    assert "finishedAt" not in found["status"]


def test_no_status_is_none_and_forgetting_it_is_fine(volume: SharedVolume) -> None:
    store = StatusStore(volume)
    assert store.read("a") is None
    store.write(status(), durable=True)
    store.remove("a")
    store.remove("a")
    assert (store.read("a"), store.names()) == (None, [])


def test_fields_of_a_newer_operator_survive(volume: SharedVolume) -> None:
    found = json.loads(status().to_json())
    found["status"]["mood"] = {"is": "good"}
    found["later"] = 1
    volume.write("status/a.json", json.dumps(found).encode(), durable=False)
    read = StatusStore(volume).read("a")
    assert read is not None
    again = json.loads(read.to_json())
    assert (again["status"]["mood"], again["later"]) == ({"is": "good"}, 1)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"metadata": 1}', b"x" * 1000],
    ids=lambda data: repr(data[:8]),
)
def test_a_file_that_is_no_status_or_wish_is_told_apart_from_none(volume: SharedVolume, data: bytes) -> None:
    volume.write("status/a.json", data, durable=False)
    volume.write("control/a.json", data, durable=False)
    with pytest.raises(Damaged, match=r"cannot read status/a\.json: \d+ errors"):
        StatusStore(volume).read("a")
    with pytest.raises(Damaged, match=r"cannot read control/a\.json: \d+ errors"):
        ControlStore(volume).read("a")


def test_what_cannot_be_looked_at_is_not_absent(volume: SharedVolume) -> None:
    (volume.root / "status/a.json").mkdir()
    with pytest.raises(OSError, match="regular file"):
        StatusStore(volume).read("a")
    (volume.root / "status/a.json").rmdir()
    (volume.root / "status").rmdir()
    with pytest.raises(FileNotFoundError):
        StatusStore(volume).names()


def test_a_planted_link_is_no_wish(volume: SharedVolume, tmp_path: Path) -> None:
    (tmp_path / "wish").write_bytes(b"{}")
    (volume.root / "control/a.json").symlink_to(tmp_path / "wish")
    with pytest.raises(OSError):
        ControlStore(volume).read("a")


def test_only_files_named_like_a_job_are_names(volume: SharedVolume) -> None:
    for name in ("a.json", "b-1.json", ".a.json.12ab~", "a.json~", "UPPER.json", "c.txt", "d", "-e.json", "ä.json"):
        (volume.root / "status" / name).write_bytes(b"{}")
        (volume.root / "control" / name).write_bytes(b"{}")
    (volume.root / "control/confirm-deletions").touch()
    assert sorted(StatusStore(volume).names()) == sorted(ControlStore(volume).names()) == ["a", "b-1"]


def test_the_last_wish_wins_and_can_be_taken_away(volume: SharedVolume) -> None:
    store = ControlStore(volume)
    store.write("a", Wish(id="1", wish="stop", at=NOW))
    store.write("a", Wish(id="2", wish="delete", by="ana", digest="0" * 64, at=NOW))
    found = store.read("a")
    assert found == Wish(id="2", wish="delete", by="ana", digest="0" * 64, at=NOW)
    store.remove("a")
    store.remove("a")
    assert store.read("a") is None


def test_the_newest_status_among_the_events_is_found(volume: SharedVolume) -> None:
    events = EventLog(volume)
    assert events.last_status("a") is None
    events.append("a", NOW, "Accepted", "", status=status(message="one"))
    events.append("a", NOW, "Started", "", status=status(message="two"), durable=True)
    events.append("a", NOW + timedelta(seconds=1), "Note", "nothing new\nat all")
    found = events.last_status("a")
    assert found == status(message="two")
    lines = [json.loads(line) for line in volume.read("state/jobs/a/events.jsonl", 10**6).splitlines()]
    assert [line["reason"] for line in lines] == ["Accepted", "Started", "Note"]
    assert lines[2]["at"] == "2026-01-31T12:00:01.000001Z"


@pytest.mark.parametrize(
    "torn", [b'{"at": "2026', b'{"object": {"kind"', b"\xff\n", b'{"object": 1}\n', b"[]\n", b"7\n", b"\n"]
)
def test_a_line_torn_by_a_crash_hides_no_earlier_one(volume: SharedVolume, torn: bytes) -> None:
    events = EventLog(volume)
    events.append("a", NOW, "Accepted", "", status=status())
    volume.append("state/jobs/a/events.jsonl", torn)
    assert events.last_status("a") == status()


def test_what_follows_a_torn_line_is_found(volume: SharedVolume) -> None:
    events = EventLog(volume)
    volume.append("state/jobs/a/events.jsonl", b'{"at": "2026')
    events.append("a", NOW, "Accepted", '{"at": 1}', status=status(message='{"at": 2}'))
    assert events.last_status("a") == status(message='{"at": 2}')


def test_a_copied_status_of_another_job_is_damaged(volume: SharedVolume) -> None:
    store = StatusStore(volume)
    store.write(status("a"), durable=False)
    (volume.status / "b.json").write_bytes((volume.status / "a.json").read_bytes())
    with pytest.raises(Damaged, match=r"status/b\.json: it tells of job 'a'"):
        store.read("b")
