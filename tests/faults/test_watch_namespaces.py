"""The watch where mounts and limits differ: each scene runs in a namespace, so nothing of the host is changed.

This file is then run as a program, with the name of the scene.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.watching import eventually, hasten, still_works, watching

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "specs")))}


def scene_overlay(folder: Path) -> None:
    """A file system that changes behind the kernel's back, as one on a network does."""
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir()
    layers = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, folder / "merged"], check=True)
    with watching(folder / "merged", canary=folder / "merged" / ".canary") as (watched, heard):
        eventually(lambda: (folder / "merged" / ".canary").exists())
        assert still_works(heard, folder / "merged")  # what is written through the mount is told
        (folder / "upper" / "a.yaml").write_text("x")
        eventually(lambda: heard.told(folder / "merged" / "a.yaml"))
        eventually(lambda: watched.mode == "poll")
        heard.hints.clear()
        eventually(
            lambda: (
                (folder / "upper" / "a.yaml").write_text("in place") and heard.anything(folder / "merged" / "a.yaml")
            )
        )


def scene_mounts(folder: Path) -> None:
    """Another file system appears at the watched path, turns read-only, and goes."""
    specs = folder / "specs"
    specs.mkdir()
    with watching(specs, canary=specs / ".canary") as (watched, heard):
        subprocess.run(["mount", "-t", "tmpfs", "none", specs], check=True)
        eventually(lambda: still_works(heard, specs))
        assert heard.anything(None)
        subprocess.run(["mount", "-o", "remount,ro", specs], check=True)
        eventually(lambda: watched.mode == "poll" and "Read-only file system" in str(watched.problems))
        subprocess.run(["umount", specs], check=True)
        eventually(lambda: still_works(heard, specs) and watched.mode == "inotify")


def limit(name: str, number: int) -> None:
    Path(f"/proc/sys/user/{name}").write_text(str(number))


def scene_no_watches(folder: Path, name: str = "max_inotify_watches") -> None:
    """Not one watch, or not one inotify instance, is to be had."""
    limit(name, 0)
    with watching(folder) as (watched, heard):
        assert watched.mode == "poll" and "limit reached" in str(watched.problems), watched.problems
        eventually(lambda: heard.anything(None))
        (folder / "a.yaml").write_text("x")
        eventually(lambda: heard.anything(folder / "a.yaml"))
        limit(name, 100)
        eventually(lambda: still_works(heard, folder) and watched.mode == "inotify")


def scene_no_instances(folder: Path) -> None:
    """The limit of inotify instances, told in another way by the kernel."""
    scene_no_watches(folder, "max_inotify_instances")


def scene_too_few_watches(folder: Path) -> None:
    """The folder is watched, one inside it is not, and watchdog says nothing."""
    (folder / "team").mkdir()
    limit("max_inotify_watches", 1)
    with watching(folder, canary=folder / ".canary") as (watched, heard):
        (folder / "team" / "a.yaml").write_text("x")
        eventually(lambda: heard.anything(folder / "team"))
        eventually(lambda: watched.mode == "poll")
        limit("max_inotify_watches", 100)
        eventually(lambda: still_works(heard, folder / "team") and watched.mode == "inotify")


def scene_overflow(folder: Path) -> None:
    """Tells what it was told, a line each, until somebody stops it."""

    def tell(path: Path | None) -> None:
        os.write(1, json.dumps(path and path.name).encode() + b"\n")  # at once, for two threads tell

    with watching(folder, poll_seconds=60) as (_, heard):
        heard.on_hint = tell
        print(json.dumps("ready"), flush=True)
        signal.sigwait({signal.SIGTERM})


def scene_command(scene: str, folder: Path) -> list[str]:
    return [sys.executable, __file__, scene, str(folder)]


@pytest.mark.parametrize(
    ("scene", "namespace"),
    [
        ("overlay", ["unshare", "--mount"]),
        ("mounts", ["unshare", "--mount"]),
        ("no_watches", ["unshare", "--user", "--map-root-user"]),
        ("no_instances", ["unshare", "--user", "--map-root-user"]),
        ("too_few_watches", ["unshare", "--user", "--map-root-user"]),
    ],
)
def test_in_a_namespace_of_its_own(scene: str, namespace: list[str], tmp_path: Path) -> None:
    command = [*namespace, *scene_command(scene, tmp_path)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.timeout(60)
def test_a_full_event_queue_means_a_look_at_everything_and_the_watch_goes_on(tmp_path: Path) -> None:
    command = scene_command("overflow", tmp_path)
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = (json.loads(line) for line in process.stdout)
            assert next(lines) == "ready"
            process.send_signal(signal.SIGSTOP)
            for number in range(20_000):
                (tmp_path / f"{number}.yaml").touch()
            process.send_signal(signal.SIGCONT)
            seen: set[str | None] = set()
            while None not in seen:
                seen.add(next(lines))
            assert len(seen) < 20_000
            (tmp_path / "after.yaml").touch()
            assert "after.yaml" in lines
        finally:
            process.kill()


if __name__ == "__main__":
    hasten(setattr)
    globals()[f"scene_{sys.argv[1]}"](Path(sys.argv[2]))
