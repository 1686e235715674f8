"""What spec files say, look by look: believed when complete, never deleted in doubt, parsed only when new."""

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.simulation import document

from opeva_specs import sighting, specfiles
from opeva_specs.specfiles import Known, SpecStore, is_spec_file
from opeva_specs.volume import SENTINEL, SharedVolume
from opeva_specs.wanted import Absent, Doc, Present, Unsure

START = datetime(2026, 1, 1, tzinfo=UTC)
INSTANCE = "0123456789abcdef"


class Desk:
    """A store over a folder, and a clock that is moved by hand."""

    def __init__(self, root: Path) -> None:
        self.volume = SharedVolume(root)
        self.volume.make_folders()
        (self.volume.specs / SENTINEL).write_text(f"{INSTANCE}\n")
        self.known: dict[str, Known] = {}
        self.now = START
        self.store = SpecStore(self.volume, INSTANCE, self.known.get)
        self.store.scan(self.clock)
        self._stamp = 10**18

    def clock(self) -> datetime:
        return self.now

    def write(self, file: str, text: str, *, is_complete: bool = True) -> specfiles.Look:
        self.put(file, text)
        return self.store.look(file, is_complete, self.clock)

    def put(self, file: str, text: str) -> None:
        """Change a file, and tell nobody."""
        path = self.volume.specs / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._stamp += 10**9
        os.utime(path, ns=(self._stamp, self._stamp))

    def remove(self, file: str) -> specfiles.Look:
        (self.volume.specs / file).unlink()
        return self.store.look(file, True, self.clock)

    def scan(self, after: float = 0) -> specfiles.Look:
        self.now += timedelta(seconds=after)
        return self.store.scan(self.clock)

    def wanted(self, name: str = "a", source: str | None = None) -> Present | Absent | Unsure:
        return self.store.wanted(name, source, self.now)

    def digest(self, name: str = "a", source: str | None = None) -> str:
        found = self.wanted(name, source)
        assert isinstance(found, Present), found
        return found.digest


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "data")


# -- believing -----------------------------------------------------------------------------------------------------


def test_a_complete_file_is_believed_at_once(desk: Desk) -> None:
    look = desk.write("a.yaml", document("a"))
    assert (look.names, look.again_after) == (frozenset({"a"}), None)
    assert isinstance(desk.wanted(), Present)


def test_a_file_that_is_not_seen_to_be_complete_is_believed_after_two_equal_looks_a_second_apart(desk: Desk) -> None:
    look = desk.write("a.yaml", document("a"), is_complete=False)
    assert (look.names, look.again_after) == (frozenset(), timedelta(seconds=1))
    assert isinstance(desk.wanted(), Absent)
    assert desk.scan(after=0.5).names == frozenset()
    assert desk.scan(after=0.6).names == {"a"}


def test_a_file_that_grows_between_two_looks_is_looked_at_again(desk: Desk) -> None:
    text = document("a")
    desk.write("a.yaml", text[:40], is_complete=False)
    desk.put("a.yaml", text)
    assert desk.scan(after=2).names == frozenset()
    assert desk.scan(after=1).names == {"a"}


def test_a_known_file_that_is_being_written_is_believed_as_it_was(desk: Desk) -> None:
    desk.write("a.yaml", document("a"))
    before = desk.digest()
    desk.write("a.yaml", "", is_complete=False)
    assert desk.digest() == before


def test_there_and_back_again_within_the_settle_time_counts_from_the_last_change(desk: Desk) -> None:
    desk.write("a.yaml", document("a"))
    first = desk.digest()
    desk.now += timedelta(seconds=10)
    desk.write("a.yaml", document("a", args=["b"]))
    assert desk.digest() != first
    desk.now += timedelta(seconds=1)
    desk.write("a.yaml", document("a"))
    found = desk.wanted()
    assert isinstance(found, Present)
    assert (found.digest, found.since) == (first, desk.now)


def test_a_change_outside_the_digest_does_not_count_as_a_change_of_the_wish(desk: Desk) -> None:
    desk.write("a.yaml", document("a"))
    desk.now += timedelta(seconds=10)
    desk.write("a.yaml", document("a", labels={"x": "y"}))
    found = desk.wanted()
    assert isinstance(found, Present) and found.since == START


def test_a_known_hash_is_not_parsed_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("a.yaml", document("a"))
    found = desk.wanted()
    assert isinstance(found, Present)
    fresh = Desk(desk.volume.root)
    fresh.known["a.yaml"] = Known(found.source_hash, (Doc(name="a", digest=found.digest),))
    fresh.store = SpecStore(fresh.volume, INSTANCE, fresh.known.get)

    def never(data: bytes) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(sighting, "parse_file", never)
    assert fresh.scan().names == {"a"}
    assert fresh.digest() == found.digest


def test_what_was_not_parsed_can_be_judged_later(desk: Desk) -> None:
    desk.write("a.yaml", document("a") + "---\n" + document("a"))
    found = desk.wanted()
    assert isinstance(found, Present)
    fresh = Desk(desk.volume.root)
    fresh.known["a.yaml"] = Known(found.source_hash, (Doc(name="a", digest=found.digest),))
    fresh.store = SpecStore(fresh.volume, INSTANCE, fresh.known.get)
    fresh.scan()
    assert fresh.store.files["a.yaml"].refused == ()
    fresh.store.judge("a.yaml")
    assert [error.reason for error in fresh.store.files["a.yaml"].refused] == ["DuplicateName"]


# -- deleting, and doubting ----------------------------------------------------------------------------------------


def test_a_removed_file_leaves_its_job_absent_since_then(desk: Desk) -> None:
    desk.write("a.yaml", document("a"))
    desk.now += timedelta(seconds=7)
    assert desk.remove("a.yaml").names == {"a"}
    assert desk.wanted() == Absent(since=desk.now)


def test_a_removal_nobody_told_of_is_found_by_the_scan(desk: Desk) -> None:
    desk.write("sub/a.yaml", document("a"))
    (desk.volume.specs / "sub" / "a.yaml").unlink()
    assert desk.scan(after=3).names == {"a"}
    assert desk.wanted() == Absent(since=desk.now)


def _no_sentinel(desk: Desk) -> None:
    (desk.volume.specs / SENTINEL).unlink()


def _foreign_sentinel(desk: Desk) -> None:
    (desk.volume.specs / SENTINEL).write_text("another\n")


def _linked_sentinel(desk: Desk) -> None:
    (desk.volume.specs / SENTINEL).rename(desk.volume.root / "real")
    (desk.volume.specs / SENTINEL).symlink_to(desk.volume.root / "real")


def _no_folder(desk: Desk) -> None:
    desk.volume.specs.rename(desk.volume.root / "away")


def _a_file_instead(desk: Desk) -> None:
    _no_folder(desk)
    desk.volume.specs.write_text("")


@pytest.mark.parametrize("damage", [_no_sentinel, _foreign_sentinel, _linked_sentinel, _no_folder, _a_file_instead])
def test_nothing_is_deemed_deleted_in_doubt(desk: Desk, damage: Callable[[Desk], None]) -> None:
    desk.write("a.yaml", document("a"))
    (desk.volume.specs / "a.yaml").unlink()
    damage(desk)
    desk.scan(after=100)
    assert isinstance(desk.wanted(source="a.yaml"), Unsure | Present)
    assert len(desk.store.problems) == 1


def test_what_is_missing_when_the_doubt_ends_is_absent_only_since_then(desk: Desk) -> None:
    desk.write("a.yaml", document("a"))
    (desk.volume.specs / "a.yaml").unlink()
    _no_sentinel(desk)
    desk.scan(after=1)
    desk.now += timedelta(seconds=500)
    (desk.volume.specs / SENTINEL).write_text(f"{INSTANCE}\n")
    desk.scan()
    assert desk.wanted(source="a.yaml") == Absent(since=desk.now)


@pytest.fixture
def locked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Whether nobody may look into the folder `sub` from now on."""
    scandir, lstat, is_locked = os.scandir, os.lstat, [False]

    def list_folder(path: Path) -> object:
        if is_locked[0] and path == desk.volume.specs / "sub":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    def look(path: Path) -> os.stat_result:
        if is_locked[0] and path.is_relative_to(desk.volume.specs / "sub"):
            raise OSError(116, "Stale file handle")
        return lstat(path)

    monkeypatch.setattr(os, "scandir", list_folder)
    monkeypatch.setattr(os, "lstat", look)
    return lambda now: is_locked.__setitem__(0, now)


def test_only_what_lies_in_a_folder_that_cannot_be_listed_is_in_doubt(
    desk: Desk, locked: Callable[[bool], None]
) -> None:
    for file in ("sub/a.yaml", "sub/in/b.yaml", "c.yaml"):
        desk.write(file, document(Path(file).stem))
    locked(True)
    (desk.volume.specs / "c.yaml").unlink()
    desk.put("d.yaml", document("d"))
    assert desk.scan(after=5).names == {"c"}
    assert desk.scan(after=2).names == {"d"}
    assert isinstance(desk.wanted("a"), Present) and isinstance(desk.wanted("b"), Present)
    assert isinstance(desk.wanted("c", "c.yaml"), Absent)
    assert desk.store.problems == ()
    assert desk.store.remarks == ("cannot look at specs/sub: Permission denied; what lies there goes on",)
    locked(False)
    desk.scan(after=1)
    assert desk.store.remarks == ()


def test_what_earlier_runs_knew_of_a_folder_that_cannot_be_listed_is_in_doubt(
    desk: Desk, locked: Callable[[bool], None]
) -> None:
    locked(True)
    (desk.volume.specs / "sub").mkdir()
    desk.scan(after=5)
    assert isinstance(desk.wanted("a", "sub/in/a.yaml"), Unsure)
    assert isinstance(desk.wanted("b", "subway/b.yaml"), Absent)
    locked(False)
    desk.scan(after=5)
    assert desk.wanted("a", "sub/in/a.yaml") == Absent(since=desk.now)


def test_what_is_gone_when_a_folder_can_be_listed_again_is_absent_only_since_then(
    desk: Desk, locked: Callable[[bool], None]
) -> None:
    desk.write("sub/a.yaml", document("a"))
    desk.remove("sub/a.yaml")
    locked(True)
    desk.scan(after=5)
    assert isinstance(desk.wanted("a", "sub/a.yaml"), Unsure)
    locked(False)
    desk.scan(after=500)
    assert desk.wanted("a", "sub/a.yaml") == Absent(since=desk.now)


def test_one_file_that_cannot_be_looked_at_casts_doubt_on_itself_alone(
    desk: Desk, locked: Callable[[bool], None]
) -> None:
    desk.write("sub/a.yaml", document("a"))
    locked(True)
    assert desk.store.look("sub/b.yaml", True, desk.clock).names == frozenset()
    assert isinstance(desk.wanted("b", "sub/b.yaml"), Unsure)
    assert isinstance(desk.wanted("c", "c.yaml"), Absent)
    assert desk.store.remarks == ("cannot look at specs/sub/b.yaml: Stale file handle; what lies there goes on",)
    locked(False)
    desk.store.look("sub/b.yaml", True, desk.clock)
    assert isinstance(desk.wanted("b", "sub/b.yaml"), Absent)
    assert desk.store.remarks == ()


def test_a_folder_that_is_moved_while_it_is_listed_is_looked_for_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write("sub/a.yaml", document("a"))
    scandir = os.scandir

    def moved(path: Path) -> object:
        if path == desk.volume.specs / "sub":
            path.rename(desk.volume.specs / "moved")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", moved)
    look = desk.scan(after=1)
    assert (look.names, look.again_after) == (frozenset(), timedelta(seconds=1))
    assert isinstance(desk.wanted("a", "sub/a.yaml"), Present)


# -- invalid files -------------------------------------------------------------------------------------------------


def test_an_invalid_file_keeps_its_last_good_and_says_why(desk: Desk) -> None:
    desk.write("a.yaml", document("a") + "---\n" + document("b"))
    look = desk.write("a.yaml", document("a") + "---\nkind: Nonsense\n")
    assert look.names == {"a", "b"} and look.files == {"a.yaml"}
    assert isinstance(desk.wanted("a"), Unsure) and isinstance(desk.wanted("b"), Unsure)
    assert {error.document for error in desk.store.files["a.yaml"].errors} == {2}
    desk.remove("a.yaml")
    assert isinstance(desk.wanted("a", "a.yaml"), Absent) and isinstance(desk.wanted("b", "a.yaml"), Absent)


def test_an_invalid_file_after_a_restart_still_stands_for_what_it_held(desk: Desk) -> None:
    desk.known["a.yaml"] = Known("an older hash", (Doc(name="a", digest="d"),))
    desk.write("a.yaml", "kind: Nonsense\n")
    assert isinstance(desk.wanted("a", "a.yaml"), Unsure)


def test_a_document_left_out_is_a_deleted_job(desk: Desk) -> None:
    desk.write("a.yaml", document("a") + "---\n" + document("b"))
    assert desk.write("a.yaml", document("a")).names == {"a", "b"}
    assert isinstance(desk.wanted("b", "a.yaml"), Absent)


@pytest.mark.parametrize("kind", ["link", "pipe", "large"])
def test_what_is_not_a_plain_small_file_is_refused_and_harms_nothing(desk: Desk, kind: str) -> None:
    path = desk.volume.specs / "a.yaml"
    real = desk.volume.root / "real.yaml"
    real.write_text(document("a"))
    if kind == "link":
        path.symlink_to(real)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("#" * 300_000)
    looked = threading.Thread(target=desk.store.look, args=("a.yaml", True, desk.clock), daemon=True)
    looked.start()
    looked.join(5)
    assert not looked.is_alive()
    assert len(desk.store.files["a.yaml"].errors) == 1
    assert isinstance(desk.wanted(), Absent)


@pytest.mark.parametrize(
    ("file", "is_read"),
    [
        ("a.yaml", True), ("sub/a.yml", True), ("a.json", True), ("a.txt", False), ("a.yaml~", False),
        (".a.yaml", False), ("sub/.git/a.yaml", False), ("#a.yaml#", False), ("a.yaml.swp", False), ("4913", False),
    ],
)  # fmt: skip
def test_only_spec_files_are_read(file: str, is_read: bool) -> None:
    assert is_spec_file(file) is is_read


def test_a_job_is_read_from_the_bytes_that_were_hashed_or_not_at_all(desk: Desk) -> None:
    desk.write("a.yaml", document("a"))
    found = desk.wanted()
    assert isinstance(found, Present)
    job = desk.store.job("a", found)
    assert job is not None and job.metadata.name == "a"
    desk.put("a.yaml", document("a", image="evil:1"))
    assert desk.store.job("a", found) is None
