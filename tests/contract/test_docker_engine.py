"""What only Docker can show: how a container was really made, mounts, limits, and sockets given back."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.contract.machines import Bench, DockerMachine

from opeva_operator.docker_engine import DockerEngine
from opeva_operator.engine import EngineError, EngineUnreachable, EventStream, LogStream, Mount

pytestmark = pytest.mark.docker


def _docker(bench: Bench) -> DockerMachine:
    assert isinstance(bench.machine, DockerMachine)
    return bench.machine


def _inspected(bench: Bench, job: str) -> dict[str, Any]:
    found: dict[str, Any] = _docker(bench).client.inspect_container(bench.name(job))
    return found


def _said(bench: Bench, container_id: str) -> list[str]:
    log = bench.engine.logs(container_id, None, follow=True)
    return b"".join(entry.data for entry in log).decode().splitlines()


def test_a_container_is_made_as_the_design_says(docker_bench: Bench) -> None:
    docker_bench.create("one", labels={"team": "energy"}, shm_bytes=2**26, log_max_bytes=12_345_678)
    made = _inspected(docker_bench, "one")
    host = made["HostConfig"]
    assert host["Init"] is True
    assert host["AutoRemove"] is False
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert host["ShmSize"] == 2**26
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "12345678", "max-file": "2"}}
    assert (made["Config"]["Tty"], made["Config"]["OpenStdin"]) == (False, False)
    assert made["Config"]["Hostname"] == "one"
    assert (
        made["Config"]["Labels"].items()
        >= {
            "opeva.io/instance": f"contract-{docker_bench.run_id}",
            "opeva.io/job": "one",
            "opeva.io/generation": "2",
            "opeva.io/attempt": "3",
            "opeva.io/digest": "sha256:abc",
            "com.centurylinklabs.watchtower.enable": "false",
            "team": "energy",
        }.items()
    )


def test_nobody_can_take_our_labels(docker_bench: Bench) -> None:
    docker_bench.create("one", labels={"opeva.io/job": "two", "com.centurylinklabs.watchtower.enable": "true"})
    labels = _inspected(docker_bench, "one")["Config"]["Labels"]
    assert labels["opeva.io/job"] == "one"
    assert labels["com.centurylinklabs.watchtower.enable"] == "false"


def test_limits_are_what_was_wanted_and_no_swap(docker_bench: Bench) -> None:
    docker_bench.create("one", nano_cpus=500_000_000, memory_bytes=64 * 2**20)
    host = _inspected(docker_bench, "one")["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 64 * 2**20, 64 * 2**20)


def test_without_limits_there_are_none(docker_bench: Bench) -> None:
    docker_bench.create("one")
    host = _inspected(docker_bench, "one")["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (0, 0, 0)


def test_args_go_to_the_images_own_entry_point(docker_bench: Bench) -> None:
    docker_bench.create("one", command=None, args=("--config", "/data/x"))
    config = _inspected(docker_bench, "one")["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (None, ["--config", "/data/x"])
    docker_bench.create("two", command=("/bin/echo",), args=("a b",))
    config = _inspected(docker_bench, "two")["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/echo"], ["a b"])


def test_the_environment_arrives(docker_bench: Bench) -> None:
    container_id = docker_bench.start("one", 'echo "$GREETING"', env={"GREETING": "a=b ü"})
    assert _said(docker_bench, container_id) == ["a=b ü"]


def test_a_job_writes_to_its_own_folder_only(docker_bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "jobs" / "one").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "secret").write_text("x", encoding="ascii")
    mounts = (
        Mount(source=str(tmp_path), target="/data"),
        Mount(source=str(tmp_path / "jobs"), target="/data/jobs", read_only=True),
        Mount(source=str(tmp_path / "jobs" / "one"), target="/data/jobs/one"),
        Mount(source=None, target="/data/state"),
    )
    script = "cd /data; for path in free jobs/free jobs/one/free; do touch $path 2>&1; done; ls state"
    said = _said(docker_bench, docker_bench.start("one", script, mounts=mounts))
    assert said == ["touch: jobs/free: Read-only file system"]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("free")) == ["free", "jobs/one/free"]


def test_a_mount_of_what_is_not_there_is_refused_in_dockers_words(docker_bench: Bench, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(EngineError, match="bind source path does not exist"):
        docker_bench.create("one", mounts=(Mount(source=str(missing), target="/data"),))
    assert not missing.exists()


def test_a_start_that_fails_is_told_in_dockers_words_and_is_no_run(docker_bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "vanishes"
    folder.mkdir()
    container_id = docker_bench.create("one", mounts=(Mount(source=str(folder), target="/data"),))
    folder.rmdir()
    with pytest.raises(EngineError, match="bind source path does not exist") as refused:
        docker_bench.engine.start(container_id)
    assert not isinstance(refused.value, EngineUnreachable)
    assert not docker_bench.found("one").has_ended


def test_a_runtime_that_cannot_make_the_container_is_no_dead_engine(docker_bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="ascii")
    container_id = docker_bench.create("one", mounts=(Mount(source=str(tmp_path / "file"), target="/etc"),))
    with pytest.raises(EngineError, match=r"(?i)oci runtime") as refused:
        docker_bench.engine.start(container_id)
    assert not isinstance(refused.value, EngineUnreachable)
    assert not docker_bench.found("one").has_ended


def test_a_run_that_fails_at_once_never_ends_before_it_starts(docker_bench: Bench) -> None:
    for job in ("one", "two", "three"):
        docker_bench.start(job, "exit 1")
        ended = docker_bench.ended(job)
        assert ended.started_at is not None and ended.finished_at is not None
        assert ended.started_at <= ended.finished_at


def test_a_container_of_another_system_is_found_by_its_id(docker_bench: Bench) -> None:
    container_id = docker_bench.create("one")
    for known in (container_id, container_id[:12]):
        found = docker_bench.engine.by_id(known)
        assert found is not None and found.id == container_id
    docker_bench.engine.remove(container_id)
    assert docker_bench.engine.by_id(container_id) is None


def test_an_id_is_no_name(docker_bench: Bench) -> None:
    container_id = docker_bench.create("one")
    assert docker_bench.engine.find(container_id) is None
    assert docker_bench.engine.find(container_id[:12]) is None


def test_a_paused_container_wakes_for_a_signal_that_is_not_its_images_own(docker_bench: Bench) -> None:
    body = {
        "Image": docker_bench.machine.image,
        "Cmd": ["sleep", "60"],
        "StopSignal": "SIGUSR1",
        "Labels": {"opeva-test": docker_bench.run_id},
        "HostConfig": {"Init": True, "NetworkMode": "none"},
    }
    container_id = _docker(docker_bench).client.create_container_from_config(body, docker_bench.name("one"))["Id"]
    docker_bench.engine.start(container_id)
    docker_bench.machine.pause("one")
    assert docker_bench.found("one").stop_signal == "SIGUSR1"
    docker_bench.engine.signal(container_id, "SIGTERM")
    assert docker_bench.ended("one").exit_code == 143


def test_the_end_of_a_log_that_was_rotated_is_in_order(docker_bench: Bench) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
    container_id = docker_bench.start("one", script, log_max_bytes=20_000)
    docker_bench.ended("one")
    entries = list(docker_bench.engine.logs(container_id, None, follow=False))
    assert entries[-1].data == b"line 2999\n"
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)


def test_streams_give_their_sockets_back(docker_bench: Bench) -> None:
    container_id = docker_bench.sleeper("one")
    docker_bench.engine.ping()
    before = _open_files()
    kept: list[LogStream | EventStream] = []  # what nobody holds any more would give its socket back by itself
    for _ in range(20):
        kept += [docker_bench.engine.events(), docker_bench.engine.logs(container_id, None, follow=True)]
        assert list(docker_bench.engine.logs(container_id, None, follow=False)) == []
        for stream in kept[-2:]:
            stream.close()
    assert _open_files() <= before + 1


def test_an_engine_that_was_closed_connects_again(docker_bench: Bench) -> None:
    engine = docker_bench.engine
    assert isinstance(engine, DockerEngine)
    engine.close()
    engine.ping()


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count of names, as the kernel gives them


def test_a_log_whose_reading_breaks_off_is_not_taken_for_the_whole(docker_bench: Bench) -> None:
    container_id = docker_bench.start("one", "seq 1 200000")
    docker_bench.ended("one")
    whole = sum(len(entry.data) for entry in docker_bench.engine.logs(container_id, None, follow=False))
    stream = docker_bench.engine.logs(container_id, None, follow=False)
    read = 0
    with pytest.raises(EngineUnreachable):
        for entry in stream:
            if read == 0:
                stream._source._response.raw.shutdown()  # type: ignore[attr-defined]  # as a killed engine does
            read += len(entry.data)
    assert 0 < read < whole
