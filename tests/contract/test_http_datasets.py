"""Data sets over HTTP: whole or not there at all, and nothing of an upload leads elsewhere or fills the disk."""

import io
import os
import socket
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from opeva_api.testing import Stage, staged
from opeva_specs.status import Phase
from opeva_specs.volume import SharedVolume

Files = dict[str, str | bytes]
SPEC = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: j}\nspec: {args: [/data/datasets/by-args/x]}\n"
SECRET = "a secret of another place"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path / "volume", dataset_max_bytes=2**20, min_free_bytes=0) as found:
        yield found


def zipped(files: Files, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def upload(stage: Stage, *files: tuple[str, bytes], path: str = "/dataset/upload", **fields: str) -> httpx.Response:
    return stage.client.post(path, files=[("file", file) for file in files], data=fields)


def detail(answer: httpx.Response) -> str:
    return str(answer.json()["detail"])


def lies_in(stage: Stage) -> dict[str, str]:
    """Every file under datasets/, and what is in it."""
    root = stage.operator.volume.root / "datasets"
    return {str(file.relative_to(root)): file.read_text("latin-1") for file in root.rglob("*") if file.is_file()}


def nothing_is_left(stage: Stage) -> bool:
    return [path.name for path in (stage.operator.volume.root / "datasets").iterdir()] == []


# -- uploading -------------------------------------------------------------------------------------------------------


def test_a_zip_file_becomes_a_data_set(stage: Stage) -> None:
    data = zipped({"schema.json": "{}", "prices/day.csv": "a,b\n"})
    answer = upload(stage, ("data.zip", data), name="zug 2024", description="Prices of Zug")
    assert answer.json() == {"message": "Dataset uploaded", "name": "zug 2024"}
    told = stage.get("/datasets").json()
    assert told[0] | {"modified_at": 0} == {
        "name": "zug 2024", "description": "Prices of Zug", "file_count": 2, "size_bytes": 6, "modified_at": 0,
    }  # fmt: skip
    files = {path: text for path, text in lies_in(stage).items() if not path.endswith(".description")}
    assert files == {"zug 2024/schema.json": "{}", "zug 2024/prices/day.csv": "a,b\n"}
    mode = (stage.operator.volume.root / "datasets/zug 2024/schema.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o644


@pytest.mark.parametrize("path", ["/dataset/upload", "/dataset"])
def test_plain_files_become_a_data_set(stage: Stage, path: str) -> None:
    answer = upload(stage, ("schema.json", b"{}"), ("sub/é.csv", b"1"), path=path, name="plain")
    assert answer.status_code == 200, answer.text
    assert lies_in(stage) == {"plain/schema.json": "{}", "plain/sub/é.csv": "1"}


def test_without_a_name_the_file_gives_it(stage: Stage) -> None:
    assert upload(stage, ("mine.zip", zipped({"a": "1"}))).json()["name"] == "mine"


def test_a_folder_that_holds_everything_is_not_doubled(stage: Stage) -> None:
    data = zipped(
        {"top/": "", "top/schema.json": "{}", "top/a/b.csv": "1", "__MACOSX/top/._x": "", "top/.DS_Store": ""}
    )
    assert upload(stage, ("x.zip", data), name="x").status_code == 200
    assert lies_in(stage) == {"x/schema.json": "{}", "x/a/b.csv": "1"}


def test_a_name_that_is_taken_is_a_conflict_and_the_first_stays(stage: Stage) -> None:
    upload(stage, ("a.csv", b"first"), name="x")
    answer = upload(stage, ("a.csv", b"second"), name="x")
    assert (answer.status_code, "already" in detail(answer)) == (409, True)
    assert lies_in(stage) == {"x/a.csv": "first"}
    assert [row["name"] for row in stage.get("/datasets").json()] == ["x"]


@pytest.mark.parametrize("name", ["..", ".", "a/b", ".hidden", "a" * 101, "é", "a\\b", "a\nb"])
def test_a_name_that_is_none_is_refused(stage: Stage, name: str) -> None:
    answer = upload(stage, ("a.csv", b"1"), name=name)
    assert (answer.status_code, "cannot name a data set" in detail(answer)) == (400, True)
    assert nothing_is_left(stage)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "a//b", "./x", "a\nb", "/".join("d" * 20), "n" * 256]
)
def test_a_zip_file_that_leads_elsewhere_is_refused(stage: Stage, name: str) -> None:
    answer = upload(stage, ("x.zip", zipped({"good.csv": "1", name: SECRET})), name="x")
    assert (answer.status_code, "cannot take a file named" in detail(answer)) == (400, True)
    assert nothing_is_left(stage)
    assert all(
        SECRET not in path.read_text("latin-1") for path in stage.operator.volume.root.rglob("x") if path.is_file()
    )


def test_a_plain_file_that_leads_elsewhere_is_refused(stage: Stage) -> None:
    assert upload(stage, ("../x", b"1"), name="x").status_code == 400
    assert nothing_is_left(stage)


def test_a_zip_file_with_a_link_in_it_is_refused(stage: Stage) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
        archive.writestr("link/passwd", "1")
    answer = upload(stage, ("x.zip", buffer.getvalue()), name="x")
    assert (answer.status_code, "is a link" in detail(answer)) == (400, True)
    assert nothing_is_left(stage)


def bomb() -> bytes:
    return zipped({"a": b"\0" * 2**21})


def lying_bomb() -> bytes:
    """It says that it unpacks to a few bytes."""
    data = bytearray(bomb())
    size = struct.pack("<L", 2**21)
    return bytes(data.replace(size, struct.pack("<L", 1000)))


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        pytest.param(bomb, 413, "larger than", id="a bomb"),
        pytest.param(lying_bomb, 400, "cannot unpack", id="a bomb that lies about its size"),
        pytest.param(lambda: zipped({"a": "1"})[:-10], 400, "cut off", id="torn"),
        pytest.param(lambda: b"PK\x03\x04" + os.urandom(500), 400, "cut off", id="noise"),
        pytest.param(lambda: zipped({}), 400, "no file", id="empty"),
        pytest.param(lambda: zipped({"d/": ""}), 400, "no file", id="folders only"),
        pytest.param(lambda: zipped({"a": "1", "a/b": "2"}), 400, "twice", id="a file that is a folder"),
        pytest.param(lambda: zipped({str(n): "" for n in range(10_001)}), 400, "more than 10000", id="too many files"),
    ],
)
def test_a_zip_file_that_is_not_to_be_trusted_leaves_nothing(stage: Stage, make: Any, status: int, words: str) -> None:
    answer = upload(stage, ("x.zip", make()), name="x")
    assert (answer.status_code, words in detail(answer)) == (status, True), answer.text
    assert nothing_is_left(stage)


def test_a_zip_file_that_needs_a_password_is_refused(stage: Stage) -> None:
    data = bytearray(zipped({"a": "1"}))
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    answer = upload(stage, ("x.zip", bytes(data)), name="x")
    assert (answer.status_code, "password" in detail(answer)) == (400, True)


def test_an_upload_that_is_too_large_is_refused_while_it_comes(stage: Stage) -> None:
    answer = upload(stage, ("a.bin", os.urandom(3 * 2**20)), name="x")
    assert (answer.status_code, "larger than" in detail(answer)) == (413, True)
    assert nothing_is_left(stage)


def test_an_upload_never_takes_the_last_room(tmp_path: Path) -> None:
    with staged(tmp_path, min_free_bytes=2**62) as stage:
        answer = upload(stage, ("a.bin", b"1"), name="x")
        assert (answer.status_code, "too little room" in detail(answer)) == (507, True)
        assert nothing_is_left(stage)


def test_unpacking_never_takes_the_last_room(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([2**40])
    monkeypatch.setattr(SharedVolume, "free_bytes", lambda _: next(looks, 0))
    answer = upload(stage, ("x.zip", zipped({"a": "1"})), name="x")
    assert (answer.status_code, "too little room" in detail(answer)) == (507, True)
    assert nothing_is_left(stage)


def body(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


FILE = b'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n1'


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        pytest.param(body(FILE), "multipart/form-data; boundary=b", 200, id="good"),
        pytest.param(body(FILE, end=b""), "multipart/form-data; boundary=b", 400, id="cut off"),
        pytest.param(body(b'Content-Disposition: form-data; name="name"\r\n\r\nx'), "multipart/form-data; boundary=b",
                     400, id="no file"),
        pytest.param(b"", "multipart/form-data; boundary=b", 400, id="empty"),
        pytest.param(b"nonsense", "multipart/form-data; boundary=b", 400, id="no parts"),
        pytest.param(body(FILE), "multipart/form-data", 415, id="no boundary"),
        pytest.param(b'{"name": "x", "site_id": "y"}', "application/json", 415, id="JSON"),
        pytest.param(body(*[b'Content-Disposition: form-data; name="n"\r\n\r\n' + b"v" * 5000, FILE]),
                     "multipart/form-data; boundary=b", 400, id="a long field"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_upload_is_refused(stage: Stage, content: bytes, kind: str, status: int) -> None:
    answer = stage.client.post("/dataset/upload", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert status == 200 or isinstance(answer.json()["detail"], str)
    assert status == 200 or nothing_is_left(stage)


def test_an_upload_whose_sender_vanishes_leaves_nothing(stage: Stage) -> None:
    url = stage.client.base_url
    with socket.create_connection((url.host, url.port or 80)) as sender:
        head = "POST /dataset/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        sender.sendall(f"{head}Content-Length: 500000\r\n\r\n".encode() + b"--b\r\n" + FILE)
        stage.eventually(lambda: not nothing_is_left(stage))
    stage.eventually(lambda: nothing_is_left(stage))


def test_what_an_earlier_process_left_half_done_is_swept_away(tmp_path: Path) -> None:
    for name in (".upload-1", ".trash-1", "good"):
        (tmp_path / "datasets" / name).mkdir(parents=True)
    with staged(tmp_path) as stage:
        assert [row["name"] for row in stage.get("/datasets").json()] == ["good"]
        assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["good"]


# -- listing, downloading --------------------------------------------------------------------------------------------


def test_only_folders_of_our_own_are_listed(stage: Stage) -> None:
    stage.operator.writes("datasets/b/x.csv", "1")
    stage.operator.writes("datasets/a/x.csv", "1")
    stage.operator.writes("datasets/file.csv", "1")
    (stage.operator.volume.root / "datasets/link").symlink_to("/etc")
    assert [row["name"] for row in stage.get("/datasets").json()] == ["a", "b"]


def test_a_data_set_is_downloaded_as_a_zip_file_and_can_be_uploaded_again(stage: Stage) -> None:
    content = os.urandom(100_000)
    stage.operator.writes("datasets/zug/deep/x.bin", content)
    stage.operator.writes("datasets/zug/schema.json", "{}")
    (stage.operator.volume.root / "datasets/zug/link").symlink_to("/etc/passwd")
    answer = stage.get("/dataset/download/zug")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="zug.zip"')
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "deep/x.bin": content,
            "schema.json": b"{}",
        }
    assert upload(stage, ("zug.zip", answer.content), name="copy").status_code == 200
    assert (stage.operator.volume.root / "datasets/copy/deep/x.bin").read_bytes() == content


@pytest.mark.parametrize("name", ["none", "%2e%2e", "..%2fspecs", ".upload-1"])
def test_what_is_no_data_set_is_not_downloaded_nor_deleted(stage: Stage, name: str) -> None:
    stage.operator.writes("datasets/.upload-1/x", SECRET)
    for answer in (stage.get(f"/dataset/download/{name}"), stage.client.delete(f"/dataset/{name}")):
        assert answer.status_code in (400, 404)
        assert SECRET not in answer.text
    assert (stage.operator.volume.root / "specs").is_dir()


# -- deleting --------------------------------------------------------------------------------------------------------


def test_a_data_set_is_deleted_once(stage: Stage) -> None:
    stage.operator.writes("datasets/zug/x.csv", "1")
    assert stage.client.delete("/dataset/zug").json() == {"message": "deleted", "name": "zug"}
    assert nothing_is_left(stage)
    assert stage.client.delete("/dataset/zug").status_code == 404


@pytest.mark.parametrize("phase", list(Phase))
def test_a_data_set_that_an_active_job_needs_stays(stage: Stage, phase: Phase) -> None:
    stage.operator.writes("datasets/zug/x.csv", "1")
    stage.operator.writes("state/jobs/j/config.yaml", "simulator: {dataset_path: /data/datasets/zug/schema.json}\n")
    stage.operator.tells("j", phase)
    stage.shows("j", phase.word)
    answer = stage.client.delete("/dataset/zug")
    assert answer.status_code == (200 if phase.is_terminal else 409)
    assert phase.is_terminal or "job j is" in detail(answer)


def test_a_job_that_is_not_accepted_yet_needs_its_data_set_too(stage: Stage) -> None:
    for name in ("inline", "by-path", "by-args", "zug", "zug-2"):
        stage.operator.writes(f"datasets/{name}/x.csv", "1")
    stage.post("/run-simulation", {"config": {"simulator": {"dataset_path": "/data/datasets/inline/schema.json"}}})
    stage.operator.writes("configs/c.yaml", "simulator: {dataset_path: /data/datasets/by-path/schema.json}\n")
    stage.post("/run-simulation", {"config_path": "c.yaml"})
    stage.operator.writes("specs/api/j.yaml", SPEC)
    stage.shows("j", "queued")
    stage.post("/run-simulation", {"config": {"simulator": {"dataset_path": "/data/datasets/zug-2"}}})
    statuses = {
        row["name"]: stage.client.delete(f"/dataset/{row['name']}").status_code for row in stage.get("/datasets").json()
    }
    assert statuses == {"by-args": 409, "by-path": 409, "inline": 409, "zug": 200, "zug-2": 409}
