"""One operator per volume, and who it is."""

import errno
import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import pytest

from opeva_operator.lock import CLAIM_PAUSE, HolderLock, heartbeat_age
from opeva_specs.volume import SharedVolume


@pytest.fixture
def volume(tmp_path: Path) -> SharedVolume:
    volume = SharedVolume(tmp_path / "data")
    volume.make_folders()
    return volume


def tries(volume: SharedVolume, times: int = 1) -> bool:
    """Whether the lock is had within so many looks; no time passes between them."""
    left = [times]

    def stopping() -> bool:
        left[0] -= 1
        return left[0] < 0

    lock = HolderLock(volume)
    is_held = lock.wait(stopping, lambda seconds: None)
    lock.release()
    return is_held


def _hold(root: Path, pipe: Connection) -> None:
    lock = HolderLock(SharedVolume(root))
    pipe.send(lock.wait(lambda: False))
    pipe.recv()


def test_a_second_process_waits_and_has_it_at_once_when_the_first_is_killed(volume: SharedVolume) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    first = context.Process(target=_hold, args=(volume.root, there), daemon=True)
    first.start()
    assert here.poll(30) and here.recv() is True
    assert not tries(volume, 3)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join(10)
    assert tries(volume)
    first.close()
    here.close()
    there.close()


def test_two_volumes_have_two_locks(volume: SharedVolume, tmp_path: Path) -> None:
    other = SharedVolume(tmp_path / "other")
    other.make_folders()
    lock = HolderLock(volume)
    assert lock.wait(lambda: False)
    assert tries(other)
    lock.release()


def test_a_released_lock_is_free_and_releasing_twice_is_fine(volume: SharedVolume) -> None:
    lock = HolderLock(volume)
    assert lock.wait(lambda: False)
    lock.release()
    lock.release()
    assert tries(volume)


def test_who_is_told_to_stop_while_waiting_does_not_have_it(volume: SharedVolume) -> None:
    lock = HolderLock(volume)
    assert not lock.wait(lambda: True)


def _no_locks(number: int) -> Any:
    def flock(fd: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


def beat(volume: SharedVolume, seconds_ago: float) -> None:
    told = {"heartbeat": (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()}
    (volume.root / "state" / "operator.json").write_bytes(orjson.dumps(told))


@pytest.mark.parametrize(("seconds_ago", "is_free"), [(1, False), (10, False), (20, True), (None, True)])
def test_where_locks_do_not_work_a_heartbeat_stands_for_them(
    volume: SharedVolume, monkeypatch: pytest.MonkeyPatch, seconds_ago: int | None, is_free: bool
) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_locks(errno.ENOLCK))
    if seconds_ago is not None:
        beat(volume, seconds_ago)
    assert tries(volume) is is_free


@pytest.fixture
def lockless(volume: SharedVolume, monkeypatch: pytest.MonkeyPatch) -> SharedVolume:
    """A volume whose file system has no locks."""
    monkeypatch.setattr(fcntl, "flock", _no_locks(errno.ENOLCK))
    return volume


def claim(volume: SharedVolume, name: str, seconds_ago: float = 0) -> None:
    at = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()
    (volume.root / "state" / "operator.claim").write_bytes(orjson.dumps({"name": name, "at": at}))


def once() -> Callable[[], bool]:
    """Tells to stop after one look."""
    looks = iter([False])
    return lambda: next(looks, True)


def test_of_two_that_start_together_without_locks_one_has_the_volume(lockless: SharedVolume) -> None:
    held = [False] * 8
    together = threading.Barrier(len(held))

    def start(number: int) -> None:
        together.wait()
        held[number] = HolderLock(lockless).wait(once(), lambda seconds: time.sleep(seconds / 4))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(len(held))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert held.count(True) == 1


def test_who_looks_while_another_claims_the_volume_waits(lockless: SharedVolume) -> None:
    others, pauses = [], []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        others.append(tries(lockless))

    assert HolderLock(lockless).wait(once(), pause)
    assert (others, pauses) == ([False], [CLAIM_PAUSE])


def test_a_claim_that_was_overwritten_meanwhile_is_none(lockless: SharedVolume) -> None:
    first = HolderLock(lockless)
    assert not first.wait(once(), lambda seconds: claim(lockless, "another"))


def test_who_was_silent_too_long_notices_that_another_took_over(
    lockless: SharedVolume, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = HolderLock(lockless), HolderLock(lockless)
    assert first.wait(once(), lambda seconds: None)
    beat(lockless, 20)
    held_for = orjson.loads((lockless.root / "state" / "operator.claim").read_bytes())["name"]
    claim(lockless, held_for, seconds_ago=100)
    assert first.is_kept()
    assert second.wait(once(), lambda seconds: None)
    assert second.is_kept() and not first.is_kept()
    assert "another operator took this volume over" in caplog.text


@pytest.mark.parametrize("damage", ["missing", "garbage", "unreadable"])
def test_while_nobody_can_tell_the_holder_goes_on(lockless: SharedVolume, damage: str) -> None:
    lock, path = HolderLock(lockless), lockless.root / "state" / "operator.claim"
    assert lock.wait(once(), lambda seconds: None)
    path.unlink()
    if damage == "garbage":
        path.write_bytes(b"{")
    if damage == "unreadable":
        path.mkdir()
    assert lock.is_kept()


def test_a_claim_says_nothing_against_a_lock_of_the_kernel(volume: SharedVolume) -> None:
    lock = HolderLock(volume)
    assert lock.wait(lambda: False)
    claim(volume, "another")
    assert lock.is_kept()
    lock.release()


def test_another_error_of_the_lock_is_told(volume: SharedVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_locks(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        tries(volume)


def test_the_holder_is_told_for_people(volume: SharedVolume) -> None:
    told = {"holder": {"pid": 7, "host": "box"}, "heartbeat": "2026-01-01T00:00:00Z"}
    (volume.root / "state" / "operator.json").write_bytes(orjson.dumps(told))
    assert HolderLock(volume).holder() == "process 7 on box, seen 2026-01-01T00:00:00Z"


@pytest.mark.parametrize("data", [None, b"", b"[]", b"{}", b'{"heartbeat": "soon"}', b'{"heartbeat": 7}'])
def test_what_cannot_be_read_is_no_heartbeat(volume: SharedVolume, data: bytes | None) -> None:
    if data is not None:
        (volume.root / "state" / "operator.json").write_bytes(data)
    assert HolderLock(volume).holder() == "unknown"
    assert heartbeat_age(volume) == timedelta.max
