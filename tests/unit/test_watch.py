"""What the watch decides without a thread: which names count, what an event says, what two looks differ in."""

import os
from pathlib import Path

import pytest
from watchdog import events

from opeva_specs.survey import differs, files_in, identity, remote_type, survey
from opeva_specs.watch import is_ignored, told_by

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:41 / /mnt/with\\040space rw shared:9 master:3 - nfs4 server:/export rw,vers=4.2
31 22 0:42 / /mnt/b rw - fuse.sshfs someone@there: rw
32 22 0:43 / /mnt/c rw - tmpfs tmpfs rw
"""


def keep_all(path: str) -> bool:
    return False


@pytest.mark.parametrize(
    "path",
    [
        *(
            "a.yaml",
            "a.yml",
            "team/b/a.json",
            "a#b.yaml",
            "#a.yaml",
            "14913",
            "tmp/a.yaml",
            "a.tmp.yaml",
            "4913/a.yaml",
        ),
        *("bak", "git/a.yaml", "sed1Ab2Cd", "naïve.yaml", "\udcff.yaml", "a~b.yaml"),
    ],
)
def test_a_name_that_may_be_a_spec_counts(path: str) -> None:
    assert not is_ignored(Path(path))


@pytest.mark.parametrize(
    "path",
    [
        *(".git", ".git/index.lock", "team/repo/.git/HEAD", ".opeva", ".hidden/a.yaml", "..data/a.yaml", ".nfs0001"),
        *(".a.yaml.swp", ".#a.yaml", "#a.yaml#", "a.yaml~", "4913", "b/4913", "a.yaml.tmp", "a.swp", "a.yaml.bak"),
        *(".a.yaml.Xy12Zz", "a.yaml___jb_tmp___", "a.yaml___jb_old___", "a.yaml.orig", "old~/a.yaml", "b/#a#"),
    ],
)
def test_hidden_names_and_side_files_of_editors_do_not_count(path: str) -> None:
    assert is_ignored(Path(path))


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (events.FileCreatedEvent("/s/a"), [("/s/a", False)]),
        (events.FileModifiedEvent("/s/a"), [("/s/a", False)]),
        (events.FileAttribEvent("/s/a"), [("/s/a", False)]),
        (events.FileClosedEvent("/s/a"), [("/s/a", True)]),
        (events.FileDeletedEvent("/s/a"), [("/s/a", True)]),
        (events.FileMovedEvent("/s/.a~", "/s/a"), [("/s/a", True), ("/s/.a~", True)]),
        (events.FileMovedEvent("", "/s/a"), [("/s/a", True)]),
        (events.FileMovedEvent("/s/a", ""), [("/s/a", True)]),
        (events.FileClosedEvent(b"/s/\xff"), [("/s/\udcff", True)]),
        (events.DirCreatedEvent("/s/b"), [("/s/b", False)]),
        (events.DirMovedEvent("", "/s/b"), [("/s/b", True)]),
        (events.DirDeletedEvent("/s/b"), [("/s/b", True)]),
    ],
)
def test_an_event_tells_its_paths_and_whether_they_are_complete(
    event: events.FileSystemEvent, told: list[tuple[str, bool]]
) -> None:
    assert told_by(event) == told


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        pytest.param((254, 0), None, id="a disk"),
        pytest.param((0, 43), None, id="memory"),
        pytest.param((0, 41), "nfs4", id="nfs, with optional fields"),
        pytest.param((0, 42), "fuse.sshfs", id="any fuse"),
        pytest.param((0, 99), None, id="not listed"),
    ],
)
def test_file_systems_that_change_elsewhere_are_known(device: tuple[int, int], kind: str | None) -> None:
    assert remote_type(MOUNTINFO, os.makedev(*device)) == kind


def test_a_survey_finds_every_folder_that_counts_and_follows_no_link(tmp_path: Path) -> None:
    for folder in ("a/b", ".git/objects", "c"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to("/etc")
    found = survey(
        [str(tmp_path), str(tmp_path / "gone")], {}, lambda path: is_ignored(Path(path).relative_to(tmp_path))
    )
    assert set(found) == {str(tmp_path / folder) for folder in ("", "a", "a/b", "c")}


def test_a_survey_lists_only_folders_that_changed(tmp_path: Path) -> None:
    (tmp_path / "quiet" / "inner").mkdir(parents=True)
    (tmp_path / "busy").mkdir()
    known = survey([str(tmp_path)], {}, keep_all)
    os.utime(tmp_path / "busy", ns=(1, 1))  # as an entry would; mkdir may fall within the same tick of the clock
    (tmp_path / "busy" / "new").mkdir()
    asked: list[str] = []
    found = survey([str(tmp_path)], known, lambda path: bool(asked.append(path)))
    assert asked == [str(tmp_path / "busy" / "new")]
    changed = {path for path, now in found.items() if differs(known.get(path), now)}
    assert changed == {str(tmp_path / "busy"), str(tmp_path / "busy" / "new")}


def test_files_differ_in_size_mtime_and_inode(tmp_path: Path) -> None:
    for name in ("same", "longer", "touched", "replaced", "gone"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, ns=(5, 5))
    (tmp_path / "folder").mkdir()
    folders = [str(tmp_path), str(tmp_path / "nowhere")]
    before = files_in(folders)
    (tmp_path / "longer").write_text("xy")
    os.utime(tmp_path / "longer", ns=(5, 5))
    os.utime(tmp_path / "touched", ns=(6, 6))
    (tmp_path / "next").write_text("x")
    os.utime(tmp_path / "next", ns=(5, 5))
    (tmp_path / "next").rename(tmp_path / "replaced")
    (tmp_path / "gone").unlink()
    after = files_in(folders)
    assert {Path(path).name for path in before} == {"same", "longer", "touched", "replaced", "gone"}
    changed = {Path(path).name for path in before if after.get(path) != before[path]}
    assert changed == {"longer", "touched", "replaced", "gone"}


def test_a_folder_has_an_identity_and_a_link_or_a_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "file").touch()
    assert identity(tmp_path / "a") is not None
    assert identity(tmp_path / "a") != identity(tmp_path / "b")
    assert [identity(tmp_path / name) for name in ("link", "file", "gone")] == [None, None, None]
