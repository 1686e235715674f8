"""Spec files in a git work tree, and files that want the same name."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.simulation import document
from tests.unit.test_specfiles import INSTANCE, Desk

from opeva_specs.specfiles import SpecStore
from opeva_specs.wanted import Absent, Present


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "data")


# -- git -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["index.lock", "rebase-merge", "rebase-apply", "MERGE_HEAD"])
def test_files_are_not_acted_on_while_git_is_at_work(desk: Desk, mark: str) -> None:
    desk.write("repo/a.yaml", document("a"))
    desk.write("a2.yaml", document("b"))
    (desk.volume.specs / "repo" / ".git").mkdir()
    lock = desk.volume.specs / "repo" / ".git" / mark
    lock.write_text("")
    os.utime(lock, (desk.now.timestamp(), desk.now.timestamp()))
    before = desk.digest()
    look = desk.write("repo/a.yaml", document("a", args=["b"]))
    assert (look.names, look.again_after) == (frozenset(), timedelta(seconds=0.5))
    assert desk.digest() == before
    assert desk.write("a2.yaml", document("b", args=["b"])).names == {"b"}
    (desk.volume.specs / "repo" / "a.yaml").unlink()
    desk.scan(after=30)
    assert desk.digest() == before
    lock.unlink()
    desk.scan(after=1)
    assert isinstance(desk.wanted(source="repo/a.yaml"), Absent)


def test_a_lock_older_than_ten_minutes_is_ignored(desk: Desk) -> None:
    (desk.volume.specs / ".git").mkdir()
    lock = desk.volume.specs / ".git" / "index.lock"
    lock.write_text("")
    os.utime(lock, (desk.now.timestamp(), desk.now.timestamp()))
    desk.put("a.yaml", document("a"))
    desk.now += timedelta(minutes=9)
    assert desk.store.look("a.yaml", True, desk.clock).names == frozenset()
    desk.now += timedelta(minutes=2)
    assert desk.store.look("a.yaml", True, desk.clock).names == {"a"}


def test_a_lock_that_is_ignored_is_told_and_casts_no_doubt(desk: Desk) -> None:
    (desk.volume.specs / "repo" / ".git").mkdir(parents=True)
    lock = desk.volume.specs / "repo" / ".git" / "index.lock"
    lock.write_text("")
    os.utime(lock, (desk.now.timestamp(), desk.now.timestamp()))
    desk.write("a.yaml", document("a"))
    desk.scan(after=599)
    assert desk.store.remarks == ()
    desk.scan(after=2)
    assert desk.store.remarks == (
        "specs/repo/.git/index.lock is older than 10 minutes and ignored: remove it if no git runs",
    )
    assert desk.store.problems == ()
    assert isinstance(desk.wanted("b", "repo/b.yaml"), Absent)
    lock.unlink()
    desk.scan(after=1)
    assert desk.store.remarks == ()


def test_gits_own_folder_is_never_read(desk: Desk) -> None:
    desk.put(".git/a.yaml", document("a"))
    assert desk.scan(after=5).names == desk.scan(after=5).names == frozenset()


# -- several of one name -------------------------------------------------------------------------------------------


def test_at_first_sight_the_older_file_keeps_the_name_then_the_smaller_path(desk: Desk) -> None:
    desk.put("z.yaml", document("a", args=["old"]))
    desk.put("b.yaml", document("a", args=["young"]))
    desk.scan()
    desk.scan(after=2)
    found = desk.wanted()
    assert isinstance(found, Present) and found.source == "z.yaml"
    assert (list(desk.store.duplicates("b.yaml")), list(desk.store.duplicates("z.yaml"))) == (["a"], [])
    fresh = Desk(desk.volume.root)
    for file in ("z.yaml", "b.yaml"):
        os.utime(fresh.volume.specs / file, ns=(10**18, 10**18))
    fresh.store = SpecStore(fresh.volume, INSTANCE, fresh.known.get)
    fresh.scan()
    fresh.scan(after=2)
    found = fresh.wanted()
    assert isinstance(found, Present) and found.source == "b.yaml"


def test_the_file_of_the_status_keeps_the_name_and_hands_it_over_when_it_goes(desk: Desk) -> None:
    desk.write("z.yaml", document("a", args=["old"]))
    desk.write("b.yaml", document("a", args=["young"]))
    found = desk.wanted(source="b.yaml")
    assert isinstance(found, Present) and found.source == "b.yaml"
    desk.remove("b.yaml")
    found = desk.wanted(source="b.yaml")
    assert isinstance(found, Present) and found.source == "z.yaml"
