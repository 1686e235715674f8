"""Whether a host shows our volume, and what it gives."""

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opeva_operator import docker_probe
from opeva_operator.engine import EngineError, EngineInfo, EngineUnreachable
from opeva_operator.probing import capacity_of, unusable
from opeva_operator.testing import FakeEngine
from opeva_specs.hostsfile import HostCapacity, HostEntry
from opeva_specs.settings import Settings

INFO = EngineInfo(id="e", cpus=16, memory=64 * 2**30, gpus=2, at=datetime(2026, 1, 1, tzinfo=UTC))


# -- the probe -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ('{"id": "ours"}', None),
        ('{"id": "theirs"}', "is the volume of another operator (id theirs)"),
        (None, "there is no state/instance.json in"),
        ("{", "is not what this operator wrote"),
        ("[]", "is not what this operator wrote"),
        ('{"name": "ours"}', "is not what this operator wrote"),
        ("\xff\xfe", "is not what this operator wrote"),
    ],
)
def test_only_our_own_record_makes_a_host_usable(tmp_path: Path, record: str | None, words: str | None) -> None:
    if record is not None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state/instance.json").write_bytes(record.encode("latin-1"))
    found = unusable(FakeEngine("ours"), str(tmp_path), "ours")
    assert found is None if words is None else words in (found or "")


def test_a_refusal_is_told_and_no_answer_is_no_refusal(tmp_path: Path) -> None:
    engine = FakeEngine("ours")
    engine.fail("read_file", EngineError("mounts denied"))
    assert unusable(engine, "/data", "ours") == "cannot look at /data there: mounts denied"
    engine.is_reachable = False
    with pytest.raises(EngineUnreachable):
        unusable(engine, str(tmp_path), "ours")


def archive(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as packed:
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, len(data)
        packed.addfile(member, io.BytesIO(data))
    return held.getvalue()


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        pytest.param(archive("instance.json", b"{}"), b"{}", id="a file"),
        pytest.param(archive("instance.json", b"", tarfile.DIRTYPE), None, id="a folder"),
        pytest.param(archive("instance.json", b"", tarfile.SYMTYPE), None, id="a link"),
        pytest.param(archive("instance.json", b"", tarfile.FIFOTYPE), None, id="a pipe"),
        pytest.param(archive("instance.json", b"x" * docker_probe.MOST_BYTES), None, id="too large"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"no archive at all" * 100, None, id="no archive"),
        pytest.param(archive("instance.json", b"x" * 600)[:700], None, id="cut off"),
    ],
)
def test_whatever_an_archive_holds_it_is_one_small_file_or_nothing(sent: bytes, found: bytes | None) -> None:
    assert docker_probe.content([sent[:100], sent[100:]]) == found


def test_a_probe_can_be_taken_for_no_job() -> None:
    body = docker_probe.creation("0123456789abcdef", "/mnt/data")
    assert "opeva.io/job" not in body["Labels"]
    assert body["Labels"] == {"opeva.io/instance": "0123456789abcdef", "opeva.io/probe": "true"}
    assert "_" in docker_probe.container_name("0123456789abcdef")  # no name of a job has one


# -- capacity ------------------------------------------------------------------------------------------------------


def entry(name: str = "tower", **capacity: Any) -> HostEntry:
    place = {} if name == "local" else {"url": "unix:///s", "shared_data": "/d"}
    return HostEntry(name=name, capacity=HostCapacity(**capacity), **place)


def given(host: HostEntry, info: EngineInfo = INFO, **settings: Any) -> tuple[int, int, int, int]:
    found = capacity_of(host, info, Settings(shared_data=Path("/data"), **settings))
    return found.jobs, found.cpu // 10**9, found.memory // 2**30, found.gpu


def test_a_host_gives_what_its_engine_tells() -> None:
    assert given(entry()) == (16, 16, 64, 2)


def test_the_file_lowers_but_never_raises_what_there_is() -> None:
    assert given(entry(cpu=4, memory="8Gi", jobs=2)) == (2, 4, 8, 2)
    assert given(entry(cpu=400, memory="8Ti")) == (16, 16, 64, 2)


def test_gpus_are_as_the_file_says_for_not_every_engine_tells_them() -> None:
    assert given(entry(gpu=4))[3] == 4
    assert given(entry(gpu=0))[3] == 0


def test_a_small_host_still_has_some_places() -> None:
    small = EngineInfo(id="e", cpus=1, memory=2**30, gpus=0, at=INFO.at)
    assert given(entry(), small)[0] == 4


def test_settings_are_of_the_operators_own_host_and_of_no_other() -> None:
    settings = {"cpus": 2.0, "memory": 2**30, "gpus": 1, "max_concurrent_jobs": 3}
    assert given(entry("local"), **settings) == (3, 2, 1, 1)
    assert given(entry(), **settings) == (16, 16, 64, 2)
    assert given(entry("local", jobs=2, cpu=1), **settings) == (2, 1, 1, 1)
    assert given(entry("local", jobs=9), **settings)[0] == 3
