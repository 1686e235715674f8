"""What a start does to a volume."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.simulation import Simulation

from opeva_operator.founding import sweep
from opeva_specs.volume import SharedVolume, is_scrap

NOW = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.fixture
def volume(tmp_path: Path) -> SharedVolume:
    volume = SharedVolume(tmp_path / "data")
    volume.make_folders()
    return volume


def leave(path: Path, age: timedelta) -> Path:
    path.write_bytes(b"half")
    at = (NOW - age).timestamp()
    os.utime(path, (at, at))
    return path


def test_what_a_write_calls_its_file_before_it_is_whole_is_known(
    volume: SharedVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(os, "rename", lambda source, target, **at: seen.append(source))
    for name in ("a.json", ".opeva", "x" * 250):
        volume.write(f"status/{name}", b"", durable=False)
    assert len(seen) == 3 and all(is_scrap(name) for name in seen)


NO_SCRAP = ["a.json", ".opeva", ".a.yaml.swp", ".a.json~", "a.json.0123abcd~", ".a.json.0123abcg~", ".0123abcd~"]


@pytest.mark.parametrize("name", NO_SCRAP)
def test_files_of_others_are_no_scrap(volume: SharedVolume, name: str) -> None:
    assert not is_scrap(name)
    path = leave(volume.specs / "api" / name, timedelta(days=400))
    sweep(volume, NOW)
    assert path.exists()


@pytest.mark.parametrize("folder", ["", "status", "state", "control", "configs", "specs", "specs/api"])
def test_scrap_is_removed_when_it_is_a_day_old(volume: SharedVolume, folder: str) -> None:
    old = leave(volume.root / folder / ".a.json.0123abcd~", timedelta(hours=25))
    young = leave(volume.root / folder / ".b.json.0123abcd~", timedelta(hours=23))
    sweep(volume, NOW)
    assert (old.exists(), young.exists()) == (False, True)


def test_only_plain_files_are_scrap_and_what_cannot_be_swept_stops_nothing(
    volume: SharedVolume, caplog: pytest.LogCaptureFixture
) -> None:
    folder = volume.status / ".a.json.0123abcd~"
    folder.mkdir()
    os.utime(folder, (0, 0))
    volume.control.rmdir()
    old = leave(volume.specs / "api" / ".a.yaml.0123abcd~", timedelta(days=2))
    sweep(volume, NOW)
    assert folder.is_dir() and not old.exists()
    assert [record.getMessage() for record in caplog.records] == ["cannot sweep control/: No such file or directory"]


def test_a_start_sweeps(tmp_path: Path) -> None:
    s = Simulation(tmp_path)
    scrap = s.volume.status / ".a.json.0123abcd~"
    scrap.write_bytes(b"half")
    os.utime(scrap, (0, 0))
    s.restart()
    assert not scrap.exists()
