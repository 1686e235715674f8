"""The shared folder: no planted link leads astray, no write tears or loses a file."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from opeva_specs.volume import FOLDERS, SharedVolume

SECRET = b"root:*:1::::::"


@pytest.fixture
def volume(tmp_path: Path) -> SharedVolume:
    volume = SharedVolume(tmp_path / "volume")
    volume.make_folders()
    return volume


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "x.log").write_bytes(SECRET)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_layout_is_made_and_making_it_again_changes_nothing(volume: SharedVolume) -> None:
    volume.write("status/a.json", b"x", durable=False)
    volume.make_folders()
    assert all((volume.root / folder).is_dir() for folder in FOLDERS)
    assert volume.read("status/a.json", 10) == b"x"
    assert [volume.specs, volume.control, volume.status, volume.rejected, volume.jobs] == [
        volume.root / name for name in ("specs", "control", "status", "rejected", "jobs")
    ]


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "live"])
def test_what_is_written_is_read_and_nothing_else_is_left(volume: SharedVolume, durable: bool) -> None:
    for data in (b"one", b"", b"three" * 100_000):
        volume.write("jobs/a/logs/x.log", data, durable=durable)
        assert volume.read("jobs/a/logs/x.log", 10**6) == data
    assert names(volume.root / "jobs/a/logs") == ["x.log"]


def test_appending_adds_to_the_end(volume: SharedVolume) -> None:
    volume.append("state/jobs/a/events.jsonl", b"1\n")
    volume.append("state/jobs/a/events.jsonl", b"2\n", durable=True)
    assert volume.read("state/jobs/a/events.jsonl", 10) == b"1\n2\n"


def test_removing_twice_is_fine(volume: SharedVolume) -> None:
    volume.write("control/a.json", b"x", durable=False)
    volume.remove("control/a.json", durable=True)
    volume.remove("control/a.json")
    volume.remove("jobs/none/at/all")
    assert not volume.exists("control/a.json")
    assert not volume.exists("jobs/none/at/all")


def test_a_file_may_be_as_large_as_the_limit_and_no_larger(volume: SharedVolume) -> None:
    volume.write("configs/a", b"12345", durable=False)
    assert volume.read("configs/a", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes") as found:
        volume.read("configs/a", 4)
    assert found.value.errno == errno.EFBIG


def test_a_sparse_file_is_refused_before_it_is_read(volume: SharedVolume) -> None:
    with (volume.root / "specs/a.yaml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="larger than"):
        volume.read("specs/a.yaml", 256 * 1024)


def link_job(volume: SharedVolume, outside: Path) -> None:
    (volume.root / "jobs/a").symlink_to(outside)


def link_folder(volume: SharedVolume, outside: Path) -> None:
    (volume.root / "jobs/a").mkdir()
    (volume.root / "jobs/a/logs").symlink_to(outside / "logs")


def link_file(volume: SharedVolume, outside: Path) -> None:
    (volume.root / "jobs/a/logs").mkdir(parents=True)
    (volume.root / "jobs/a/logs/x.log").symlink_to(outside / "logs/x.log")


def link_jobs(volume: SharedVolume, outside: Path) -> None:
    (volume.root / "jobs").rmdir()
    (outside / "a").symlink_to(outside)
    (volume.root / "jobs").symlink_to(outside)


def link_loop(volume: SharedVolume, outside: Path) -> None:
    (volume.root / "jobs/a/logs").mkdir(parents=True)
    (volume.root / "jobs/a/logs/x.log").symlink_to("x.log")


def link_dangling(volume: SharedVolume, outside: Path) -> None:
    (volume.root / "jobs/a/logs").mkdir(parents=True)
    (volume.root / "jobs/a/logs/x.log").symlink_to(outside / "new")


PLANTS = [link_job, link_folder, link_file, link_jobs, link_loop, link_dangling]
Plant = Callable[[SharedVolume, Path], None]
plants = pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)


@plants
def test_no_link_is_followed_for_reading(volume: SharedVolume, outside: Path, plant: Plant) -> None:
    plant(volume, outside)
    with pytest.raises(OSError) as found:
        volume.read("jobs/a/logs/x.log", 1000)
    assert found.value.errno in (errno.ELOOP, errno.ENOTDIR)


@plants
def test_no_link_is_followed_for_writing_appending_or_removing(
    volume: SharedVolume, outside: Path, plant: Plant
) -> None:
    plant(volume, outside)
    before = everything(outside)
    for act in (
        lambda: volume.append("jobs/a/logs/x.log", b"mine"),
        lambda: volume.write("jobs/a/logs/x.log", b"mine", durable=False),
        lambda: volume.remove("jobs/a/logs/x.log"),
        lambda: volume.write("jobs/a/logs/deep/er/x.log", b"mine", durable=True),
    ):
        try:
            act()
        except OSError:
            continue
    assert everything(outside) == before


def test_writing_over_a_planted_link_takes_its_place(volume: SharedVolume, outside: Path) -> None:
    link_file(volume, outside)
    volume.write("jobs/a/logs/x.log", b"mine", durable=False)
    assert volume.read("jobs/a/logs/x.log", 10) == b"mine"
    assert (outside / "logs/x.log").read_bytes() == SECRET


def test_what_is_a_link_exists_even_when_it_points_nowhere(volume: SharedVolume, outside: Path) -> None:
    link_dangling(volume, outside)
    assert volume.exists("jobs/a/logs/x.log")


def plant_fifo(path: Path) -> None:
    os.mkfifo(path)


def plant_folder(path: Path) -> None:
    path.mkdir()


def plant_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("plant", [plant_fifo, plant_folder, plant_socket], ids=lambda plant: plant.__name__)
def test_only_regular_files_are_read_and_nothing_blocks(
    tmp_path_factory: pytest.TempPathFactory, plant: Callable[[Path], None]
) -> None:
    volume = SharedVolume(tmp_path_factory.mktemp("v"))
    plant(volume.root / "a.yaml")
    for act in (lambda: volume.read("a.yaml", 10), lambda: volume.append("a.yaml", b"x")):
        with pytest.raises(OSError) as found:
            act()
        assert found.value.errno in (errno.EINVAL, errno.EISDIR, errno.ENXIO)


@pytest.mark.parametrize("device", ["zero", "null", "full"])
def test_devices_are_not_read(device: str) -> None:
    with pytest.raises(OSError, match="is not a regular file"):
        SharedVolume(Path("/dev")).read(device, 10)


@pytest.mark.parametrize(
    "path",
    ["..", "../x", "specs/../../x", "/etc/passwd", "//etc/passwd", "a\x00b", "", ".", "./", "jobs/a/../../../x"],
)
def test_a_path_that_leads_out_is_refused_by_every_call(volume: SharedVolume, path: str) -> None:
    for act in (
        lambda: volume.read(path, 10),
        lambda: volume.write(path, b"x", durable=False),
        lambda: volume.append(path, b"x"),
        lambda: volume.remove(path),
        lambda: volume.exists(path),
        lambda: volume.open(path),
    ):
        with pytest.raises(OSError, match=r"leads out of the shared folder|names no file"):
            act()
    assert names(volume.root.parent) == ["volume"]


def test_a_folder_that_cannot_be_looked_into_is_not_an_absent_file(volume: SharedVolume) -> None:
    (volume.root / "status").rmdir()
    (volume.root / "status").write_text("not a folder")
    with pytest.raises(NotADirectoryError):
        volume.exists("status/a.json")


def test_descriptors_are_given_back(volume: SharedVolume, outside: Path) -> None:
    link_folder(volume, outside)
    before = len(names(Path("/proc/self/fd")))
    for _ in range(50):
        for path in ("jobs/a/logs/x.log", "none/x", "jobs", "specs"):
            with pytest.raises(OSError):
                volume.read(path, 10)
        volume.write("status/a.json", b"x", durable=True)
        volume.read("status/a.json", 10)
    assert len(names(Path("/proc/self/fd"))) == before


def on_small_disk(options: str, act: str, tmp_path: Path) -> str:
    """Run `act` with `volume` on a tmpfs of its own; what it printed."""
    source = f"""
        import errno, os, sys
        from pathlib import Path
        from opeva_specs.volume import SharedVolume
        volume = SharedVolume(Path({str(tmp_path)!r}))
        (volume.root / "status").mkdir()
    """
    unshare = shutil.which("unshare")
    assert unshare, "this test needs the command 'unshare' of util-linux"
    own_user = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = f'mount -t tmpfs -o {options} none "$1" && exec "$2" -c "$3"'
    program = textwrap.dedent(source) + textwrap.dedent(act)
    command = [unshare, *own_user, "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, program]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "live"])
@pytest.mark.parametrize("options", ["size=64k", "nr_inodes=4"], ids=["no space", "no inodes"])
def test_on_a_full_disk_the_old_file_stands_and_no_scrap_is_left(tmp_path: Path, options: str, durable: bool) -> None:
    said = on_small_disk(
        options,
        f"""
        volume.write("status/a.json", b"old" * 10, durable={durable})
        fill = b"" if "{options}".startswith("size") else b"."
        try:
            for n in range(100):
                volume.write(f"status/{{n if fill else 'a'}}.json", fill or b"new" * 10 ** n, durable={durable})
        except OSError as error:
            print(error.errno == errno.ENOSPC, volume.read("status/a.json", 10 ** 6)[:3].decode())
            print(sorted(name for name in os.listdir(volume.root / "status") if name.startswith(".")))
        """,
        tmp_path,
    )
    assert said.splitlines() == [f"True {'new' if 'size' in options else 'old'}", "[]"]


def test_a_file_that_does_not_fit_leaves_the_one_before_it_whole(tmp_path: Path) -> None:
    said = on_small_disk(
        "size=64k",
        """
        volume.write("status/a.json", b"old" * 1000, durable=True)
        try:
            volume.write("status/a.json", b"new" * 100_000, durable=True)
        except OSError as error:
            print(error.errno == errno.ENOSPC, volume.read("status/a.json", 10 ** 6) == b"old" * 1000)
        print(os.listdir(volume.root / "status"), volume.free_bytes() < 64 * 1024)
        """,
        tmp_path,
    )
    assert said.splitlines() == ["True True", "['a.json'] True"]


WRITER = """
import sys
from pathlib import Path
from opeva_specs.volume import SharedVolume
volume = SharedVolume(Path(sys.argv[1]))
for n in range(10**9):
    volume.write("status/a.json", bytes([65 + n % 26]) * (1 + n * 7919 % 60_000), durable=n % 50 == 0)
"""


def test_a_reader_never_sees_half_a_file(volume: SharedVolume) -> None:
    volume.write("status/a.json", b"A", durable=False)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    torn: list[bytes] = []
    seen: set[bytes] = set()

    def read_many() -> None:
        for _ in range(1_000):
            data = volume.read("status/a.json", 10**6)
            seen.add(data[:1])
            if len(set(data)) != 1:
                torn.append(data)

    with subprocess.Popen([sys.executable, "-c", WRITER, str(volume.root)], env=environ) as writer:
        try:
            while volume.read("status/a.json", 10**6) == b"A":
                assert writer.poll() is None
            readers = [threading.Thread(target=read_many) for _ in range(4)]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
        finally:
            writer.kill()
    assert torn == []
    assert len(seen) > 1, "the writer wrote nothing while we read"
