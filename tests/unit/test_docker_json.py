"""Docker's JSON, its words and its streams, without an engine."""

import struct
from datetime import UTC, datetime

import pytest

from opeva_operator.docker_json import (
    engine_info,
    host_source,
    image_tags,
    instant,
    own_container_id,
    pull_kind,
    repository_of,
    resolved_digest,
    since_parameter,
)
from opeva_operator.docker_streams import frames, lines

ID = "de50a5a6d2e886fd9b3f910871520c401bf521ceefa218d8a88406a6af2a4704"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-23T21:32:42.139146789Z", datetime(2026, 11, 23, 21, 32, 42, 139146, tzinfo=UTC)),
        ("2026-11-23T21:32:42.1Z", datetime(2026, 11, 23, 21, 32, 42, 100000, tzinfo=UTC)),
        ("2026-11-23T21:32:42Z", datetime(2026, 11, 23, 21, 32, 42, tzinfo=UTC)),
        ("2026-11-23T23:32:42.5+02:00", datetime(2026, 11, 23, 21, 32, 42, 500000, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
    ],
)
def test_a_time_of_docker_is_read_to_microseconds_in_utc(text: str, at: datetime | None) -> None:
    assert instant(text) == at


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-23", "2026-11-23T21:32:42"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        instant(text)


def test_nanoseconds_survive_the_way_back_to_docker() -> None:
    assert since_parameter("2006-01-01T00:00:00.000000001Z") == "1136073600.000000001"
    assert since_parameter("2006-01-01T02:00:00.5+02:00") == "1136073600.500000000"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("manifest for busybox:nope not found: manifest unknown: manifest unknown", "not found"),
        (
            "pull access denied for nope/x, repository does not exist or may require 'docker login': "
            "denied: requested access to the resource is denied",
            "not found",
        ),
        ("invalid reference format: repository name must be lowercase", "not found"),
        ('Get "https://r.example/v2/x/manifests/1": unauthorized: authentication required', "unauthorised"),
        ('Head "http://127.0.0.1:5000/v2/a/b/manifests/1": no basic auth credentials', "unauthorised"),
        ("unauthorized: incorrect username or password", "unauthorised"),
        ("denied: requested access to the resource is denied", "unauthorised"),
        ('Get "https://r.example/v2/": dial tcp: lookup r.example: no such host', "unreachable"),
        ('Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', "unreachable"),
        ("net/http: request canceled while waiting for connection (Client.Timeout exceeded)", "unreachable"),
        ("x509: certificate signed by unknown authority", "unreachable"),
        ("remote error: tls: handshake failure", "unreachable"),
        ("toomanyrequests: You have reached your pull rate limit.", "unreachable"),
        ("received unexpected HTTP status: 503 Service Unavailable", "unreachable"),
    ],
)
def test_a_failed_pull_says_who_has_to_mend_what(words: str, kind: str) -> None:
    assert pull_kind(words) == kind


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("busybox", "busybox"),
        ("busybox:1", "busybox"),
        ("host:5000/team/job", "host:5000/team/job"),
        ("host:5000/team/job:1", "host:5000/team/job"),
        ("host:5000/team/job:1@sha256:abc", "host:5000/team/job"),
    ],
)
def test_a_reference_without_tag_and_digest(reference: str, repository: str) -> None:
    assert repository_of(reference) == repository


def test_the_digest_is_of_the_repository_that_was_asked_for() -> None:
    found = {"Id": "sha256:id", "RepoDigests": ["other@sha256:1", "host:5000/team/job@sha256:2"]}
    assert resolved_digest("host:5000/team/job:1", found) == "host:5000/team/job@sha256:2"
    assert resolved_digest("never-pushed:1", found) == "sha256:id"
    assert resolved_digest("never-pushed:1", {"Id": "sha256:id", "RepoDigests": None}) == "sha256:id"


# --- where this process runs ----------------------------------------------------------------------------------

BARE_HOST = """\
22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw
28 1 254:0 / / rw,relatime - ext4 /dev/vda rw
"""
HOST_WITH_CONTAINERS = BARE_HOST + f"90 28 0:50 / /var/lib/docker/containers/{ID}/mounts/shm rw,nosuid - tmpfs shm rw\n"
IN_DOCKER = f"""\
700 600 0:51 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/ABC
710 700 254:0 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw
711 700 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw
"""
IN_DOCKER_WITH_ANOTHERS_FOLDER = (
    f"""\
700 600 0:51 / / rw,relatime - overlay overlay rw
705 700 254:0 /var/lib/docker/containers/{"0" * 64} /logs ro,relatime - ext4 /dev/vda rw
"""
    + IN_DOCKER
)
CGROUP_BARE = "12:pids:/user.slice\n0::/init.scope\n"
CGROUP_V1 = f"12:pids:/docker/{ID}\n0::/system.slice/containerd.service\n"
CGROUP_SYSTEMD = f"0::/system.slice/docker-{ID}.scope\n"


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "expected"),
    [
        pytest.param(BARE_HOST, CGROUP_BARE, None, id="a bare host"),
        pytest.param(HOST_WITH_CONTAINERS, CGROUP_BARE, None, id="a host that runs containers"),
        pytest.param(IN_DOCKER, "0::/\n", ID, id="in a container, cgroup v2"),
        pytest.param(IN_DOCKER_WITH_ANOTHERS_FOLDER, "0::/\n", ID, id="another's folder is mounted too"),
        pytest.param(BARE_HOST, CGROUP_V1, ID, id="only cgroup v1 tells"),
        pytest.param(BARE_HOST, CGROUP_SYSTEMD, ID, id="only systemd's cgroup tells"),
        pytest.param("", "", None, id="no /proc at all"),
    ],
)
def test_a_process_knows_its_own_container(mountinfo: str, cgroup: str, expected: str | None) -> None:
    assert own_container_id(mountinfo, cgroup) == expected


def test_the_host_path_is_that_of_the_nearest_mount() -> None:
    mounts = [
        {"Type": "bind", "Source": "/opt/shared", "Destination": "/data"},
        {"Type": "bind", "Source": "/opt/fast", "Destination": "/data/jobs"},
        {"Type": "tmpfs", "Source": "", "Destination": "/data/state"},
    ]
    assert host_source("/data", mounts) == "/opt/shared"
    assert host_source("/data/specs/api", mounts) == "/opt/shared/specs/api"
    assert host_source("/data/jobs/one", mounts) == "/opt/fast/one"
    assert host_source("/database", mounts) is None
    assert host_source("/elsewhere", mounts) is None


# --- streams --------------------------------------------------------------------------------------------------


def _frame(payload: bytes) -> bytes:
    return struct.pack(">BxxxL", 1, len(payload)) + payload


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 20, 1000])
def test_frames_are_whole_however_they_are_cut(size: int) -> None:
    payloads = [b"one\n", b"x" * 40, b"", b"two\n"]
    sent = b"".join(map(_frame, payloads))
    assert list(frames(sent[at : at + size] for at in range(0, len(sent), size))) == payloads


@pytest.mark.parametrize("missing", [1, 5, 20])
def test_half_a_frame_is_no_frame(missing: int) -> None:
    sent = _frame(b"one\n") + _frame(b"x" * 20)
    assert list(frames([sent[:-missing]])) == [b"one\n"]


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_lines_are_whole_however_they_are_cut(size: int) -> None:
    sent = b'{"a": 1}\r\n\r\n{"b": 2}\n{"half'
    assert list(lines(sent[at : at + size] for at in range(0, len(sent), size))) == [b'{"a": 1}\r', b'{"b": 2}']


INFO = {"ID": "A:B", "NCPU": 8, "MemTotal": 2**35, "SystemTime": "2026-11-23T21:32:42.5+02:00"}


def test_an_engine_tells_of_its_machine() -> None:
    told = engine_info({**INFO, "ServerVersion": "28.1", "OperatingSystem": "Debian"})
    assert (told.id, told.cpus, told.memory, told.gpus) == ("A:B", 8, 2**35, 0)
    assert told.at == datetime(2026, 11, 23, 19, 32, 42, 500000, tzinfo=UTC)
    assert (told.version, told.system) == ("28.1", "Debian")


def test_gpus_are_counted_once_though_they_have_several_names() -> None:
    names = ["nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=GPU-4f1c", "nvidia.com/gpu=all", "amd.com/gpu=0"]
    devices = [{"Source": "cdi", "ID": name} for name in names]
    assert engine_info({**INFO, "DiscoveredDevices": devices}).gpus == 2
    assert engine_info({**INFO, "DiscoveredDevices": None}).gpus == 0


def test_an_engine_without_a_clock_is_told() -> None:
    with pytest.raises(ValueError, match="never"):
        engine_info({**INFO, "SystemTime": "0001-01-01T00:00:00Z"})


def test_names_of_an_image_have_the_digest_of_their_own_repository() -> None:
    row = {
        "Id": "sha256:abc",
        "Created": 1_700_000_000,
        "RepoTags": ["sim:1", "registry.example:5000/sim:1", "<none>:<none>"],
        "RepoDigests": ["registry.example:5000/sim@sha256:def"],
    }
    told = image_tags(row)
    assert [(tag.name, tag.digest) for tag in told] == [
        ("sim:1", None),
        ("registry.example:5000/sim:1", "registry.example:5000/sim@sha256:def"),
    ]
    assert {(tag.id, tag.created_at) for tag in told} == {
        ("sha256:abc", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    }


@pytest.mark.parametrize("tags", [None, [], ["<none>:<none>"], ["opeva-probe:1"]])
def test_an_image_without_a_name_and_that_of_probes_is_none_for_users(tags: list[str] | None) -> None:
    assert image_tags({"Id": "sha256:abc", "Created": 0, "RepoTags": tags, "RepoDigests": None}) == []
