"""The watch on the real file system, with real faults: threads ended, folders replaced, events withheld."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.faults.watching import consistently, eventually, forget_watches, hasten, still_works, watching
from watchdog.observers.api import EventEmitter
from watchdog.observers.inotify import InotifyObserver
from watchdog.observers.inotify_c import InotifyFD

from opeva_specs import watch


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch.setattr)


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    folder = tmp_path / "specs"
    folder.mkdir()
    return folder


# How files are saved


def vim(file: Path) -> None:
    (file.parent / "4913").touch()
    (file.parent / "4913").unlink()
    (file.parent / f".{file.name}.swp").write_bytes(b"b0VIM")
    file.rename(f"{file}~")
    file.write_text("new")
    Path(f"{file}~").unlink()
    (file.parent / f".{file.name}.swp").unlink()


def emacs(file: Path) -> None:
    (file.parent / f".#{file.name}").symlink_to("me@host.1")
    (file.parent / f"#{file.name}#").write_text("auto")
    shutil.copy2(file, f"{file}~")
    file.write_text("new")
    (file.parent / f"#{file.name}#").unlink()
    (file.parent / f".#{file.name}").unlink()


def rsync(file: Path) -> None:
    temporary = file.parent / f".{file.name}.Xy12Zz"
    temporary.write_text("new")
    temporary.rename(file)


def git(file: Path) -> None:
    (file.parent / ".git").mkdir()
    (file.parent / ".git" / "index.lock").write_text("x")
    file.unlink()
    file.write_text("new")
    (file.parent / ".git" / "index.lock").rename(file.parent / ".git" / "index")


def in_place(file: Path) -> None:
    file.write_text("new")


def from_elsewhere(file: Path) -> None:
    other = file.parents[1] / "upload"
    other.write_text("new")
    other.rename(file)


@pytest.mark.parametrize("save", [vim, emacs, rsync, git, in_place, from_elsewhere])
def test_a_save_tells_its_file_as_complete_and_no_side_file(specs: Path, save: Callable[[Path], None]) -> None:
    file = specs / "a.yaml"
    file.write_text("old")
    with watching(specs) as (_, heard):
        save(file)
        eventually(lambda: heard.complete(file))
        assert still_works(heard, specs)  # whatever came before this probe was told by now
    names = {path.name for path, _ in heard.hints if path and not path.name.startswith("probe")}
    assert names == ({"a.yaml", "specs"} & names) | {"a.yaml"}


def test_a_file_is_not_complete_before_it_is_closed(specs: Path) -> None:
    file = specs / "slow.yaml"
    with watching(specs) as (_, heard), file.open("w", buffering=1) as slow:
        for number in range(10):
            slow.write(f"line {number}\n")
        eventually(lambda: heard.anything(file))
        consistently(lambda: not heard.complete(file), 0.5)
        slow.close()
        eventually(lambda: heard.complete(file))


def test_both_names_of_a_rename_are_told_and_so_is_a_file_that_goes(specs: Path) -> None:
    for name in ("a.yaml", "b.yaml", "c.yaml"):
        (specs / name).touch()
    with watching(specs) as (_, heard):
        (specs / "a.yaml").rename(specs / "z.yaml")
        (specs / "b.yaml").unlink()
        (specs / "c.yaml").rename(specs.parent / "c.yaml")
        for name in ("z.yaml", "a.yaml", "b.yaml", "c.yaml"):
            eventually(lambda name=name: heard.complete(specs / name))


def test_a_file_that_leaves_holds_up_nothing(specs: Path) -> None:
    (specs / "a.yaml").touch()
    with watching(specs) as (_, heard):
        (specs / "a.yaml").rename(specs.parent / "a.yaml")
        (specs / "b.yaml").touch()
        eventually(lambda: heard.complete(specs / "b.yaml"), 0.4)


def test_reading_is_no_change(specs: Path) -> None:
    (specs / "a.yaml").write_text("x")
    with watching(specs) as (_, heard):
        for _number in range(100):
            (specs / "a.yaml").read_text()
        assert still_works(heard, specs)
        assert not heard.anything(specs / "a.yaml")


def test_folders_that_come_and_go_are_told_and_what_is_in_them(specs: Path) -> None:
    (specs.parent / "batch" / "deep").mkdir(parents=True)
    with watching(specs) as (_, heard):
        (specs.parent / "batch").rename(specs / "batch")
        eventually(lambda: heard.complete(specs / "batch"))
        eventually(lambda: still_works(heard, specs / "batch" / "deep"))
        (specs / "new" / "inner").mkdir(parents=True)
        (specs / "new" / "inner" / "a.yaml").write_text("x")
        eventually(lambda: heard.anything(specs / "new" / "inner" / "a.yaml"))
        shutil.rmtree(specs / "new")
        eventually(lambda: heard.complete(specs / "new" / "inner" / "a.yaml") and heard.complete(specs / "new"))
        (specs / "batch").rename(specs.parent / "batch")
        eventually(lambda: heard.hints.count((specs / "batch", True)) == 2)


def test_a_name_that_is_not_utf8_is_told_like_any_other(specs: Path) -> None:
    with watching(specs) as (_, heard):
        Path(os.fsdecode(bytes(specs) + b"/caf\xe9.yaml")).write_text("x")
        eventually(lambda: heard.complete(specs / "caf\udce9.yaml"))
        assert still_works(heard, specs)


def test_a_real_git_checkout_is_told_file_by_file_and_nothing_below_dot_git(specs: Path) -> None:
    def run(*command: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=specs, check=True)

    files = [specs / "team" / f"job-{number}.yaml" for number in range(100)]
    files[0].parent.mkdir()
    run("init", "--quiet", "--initial-branch=main")
    run("commit", "--quiet", "--allow-empty", "--message=empty")
    run("checkout", "--quiet", "-b", "full")
    for file in files:
        file.write_text(file.name)
    run("add", ".")
    run("commit", "--quiet", "--message=full")
    with watching(specs) as (watched, heard):
        run("checkout", "--quiet", "main")
        eventually(lambda: all(heard.complete(file) for file in files))
        heard.hints.clear()
        run("checkout", "--quiet", "full")
        eventually(lambda: all(heard.told(file) for file in files))
        assert [path for path, _ in heard.hints if path and ".git" in path.parts] == []
        assert watched.problems == ()


# What breaks the watch itself


def test_a_listener_that_raises_loses_nothing_and_is_told_to_look_at_everything(
    specs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: Path | None) -> None:
        heard.on_hint = lambda path: None
        raise ValueError("a bug of the listener")

    with watching(specs) as (_, heard):
        heard.on_hint = fail
        (specs / "a.yaml").write_text("x")
        eventually(lambda: heard.anything(None))
        assert still_works(heard, specs)
    assert "a bug of the listener" in caplog.text


@pytest.mark.parametrize("kind", [InotifyObserver, EventEmitter, InotifyFD])
def test_a_thread_of_the_watch_that_ends_is_replaced(specs: Path, kind: type[Any]) -> None:
    with watching(specs) as (watched, heard):
        assert still_works(heard, specs)
        next(thread for thread in threading.enumerate() if isinstance(thread, kind)).stop()
        eventually(lambda: heard.anything(None))
        eventually(lambda: still_works(heard, specs))
        assert (watched.mode, watched.problems) == ("inotify", ())


def test_a_folder_deleted_and_made_again_is_watched_again(specs: Path) -> None:
    with watching(specs) as (watched, heard):
        specs.rmdir()
        eventually(lambda: "there is no such folder" in str(watched.problems))
        specs.mkdir()
        eventually(lambda: still_works(heard, specs))
        eventually(lambda: (watched.mode, watched.problems) == ("inotify", ()))


def test_a_folder_replaced_by_rename_is_watched_again(specs: Path) -> None:
    with watching(specs) as (_, heard):
        for number in range(3):
            (specs.parent / "next").mkdir()
            specs.rename(specs.parent / f"old-{number}")
            (specs.parent / "next").rename(specs)
            eventually(lambda: still_works(heard, specs))
        assert heard.anything(None)


def test_a_folder_that_is_not_there_yet_is_waited_for_and_the_others_are_watched(specs: Path, tmp_path: Path) -> None:
    with watching(specs, tmp_path / "later") as (watched, heard):
        assert f"cannot watch {tmp_path / 'later'}" in str(watched.problems)
        assert still_works(heard, specs)
        (tmp_path / "later").symlink_to("specs")
        consistently(lambda: watched.problems, 0.3)
        (tmp_path / "later").unlink()
        (tmp_path / "later").mkdir()
        eventually(lambda: still_works(heard, tmp_path / "later"))
        assert watched.problems == ()


def test_a_canary_that_is_not_heard_restarts_the_watch(specs: Path) -> None:
    with watching(specs, canary=specs / ".canary", poll_seconds=60) as (watched, heard):
        eventually(lambda: (specs / ".canary").exists())
        consistently(lambda: watched.mode == "inotify", 1.5)
        forget_watches()
        eventually(lambda: watched.mode == "poll" and "without an event" in str(watched.problems))
        eventually(lambda: watched.mode == "inotify" and still_works(heard, specs))
        assert heard.anything(None) and not heard.anything(specs / ".canary")
    assert not (specs / ".canary").exists()


def test_a_canary_that_cannot_be_written_means_polling(specs: Path) -> None:
    (specs / ".canary").mkdir()
    file = specs / "a.yaml"
    file.write_text("x")
    with watching(specs, canary=specs / ".canary") as (watched, heard):
        eventually(lambda: watched.mode == "poll" and heard.anything(None))
        assert "cannot write" in str(watched.problems)
        forget_watches()
        file.write_text("in place")
        eventually(lambda: heard.anything(file))
        file.unlink()
        eventually(lambda: heard.complete(file))
        (specs / ".canary").rmdir()
        eventually(lambda: watched.mode == "inotify")


def test_without_a_canary_a_change_without_an_event_restarts_the_watch(specs: Path) -> None:
    (specs / "team").mkdir()
    with watching(specs) as (watched, heard):
        forget_watches()
        (specs / "team" / "a.yaml").write_text("x")
        eventually(lambda: heard.anything(specs / "team"))
        eventually(lambda: watched.mode == "poll" and "came without an event" in str(watched.problems))
        eventually(lambda: still_works(heard, specs / "team"))
        eventually(lambda: watched.mode == "inotify")


def resources() -> tuple[int, list[str]]:
    return threading.active_count(), sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 (one descriptor, not many)


def test_stop_leaves_no_thread_and_no_descriptor_whatever_happened(specs: Path) -> None:
    with watching(specs, canary=specs / ".canary"):
        pass
    before = resources()
    for fault in (lambda: None, forget_watches, specs.rmdir, specs.mkdir):
        with watching(specs, specs.parent / "none", canary=specs / ".canary"):
            eventually(lambda: (specs / ".canary").exists() or not specs.exists())
            (specs / ".canary").unlink(missing_ok=True)
            fault()
            started = time.monotonic()
        assert time.monotonic() - started < 2
        assert resources() == before


def test_ten_thousand_files_cost_next_to_nothing_while_nothing_changes(
    specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "HEALTH_SECONDS", 1.0)
    for number in range(10_000):
        (specs / f"{number}.yaml").touch()
    with watching(specs, canary=specs / ".canary", poll_seconds=1) as (watched, heard):
        eventually(lambda: (specs / ".canary").exists())
        used = time.process_time()
        consistently(lambda: time.sleep(0.5) is None, 3)
        assert (time.process_time() - used) / 3 < 0.05
        assert watched.mode == "inotify" and not heard.anything(None)
