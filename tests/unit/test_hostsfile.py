"""The hosts file: what it may say, and what is said when it says something else."""

from pathlib import Path

import pytest

from opeva_specs.hostsfile import HostsFile, HostsFileError, parse_hosts, read_hosts

WHOLE = b"""\
hosts:
  - name: local
    labels: {room: attic}
    capacity: {cpu: 1.5, memory: 4Gi, gpu: 1, jobs: 3}
  - name: tower
    url: ssh://opeva@tower.example:2222/run/docker.sock
    sharedData: /mnt/opeva/
    ssh: {key: /keys/id, knownHosts: /keys/known}
  - name: rack
    url: tcp://rack.example:2376
    sharedData: /mnt/opeva
    tls: {ca: /tls/ca.pem, cert: /tls/cert.pem, key: /tls/key.pem}
  - {name: second, url: 'unix:///run/second.sock', sharedData: /srv/opeva}
"""


def test_a_whole_file_is_understood() -> None:
    found = parse_hosts(WHOLE)
    assert [host.name for host in found.hosts] == ["local", "tower", "rack", "second"]
    assert (found.local.capacity.cpu, found.local.capacity.jobs, found.local.labels) == ("1.5", 3, {"room": "attic"})
    tower, rack, second = found.others
    assert (tower.shared_data, tower.ssh and tower.ssh.known_hosts) == ("/mnt/opeva", "/keys/known")
    assert rack.tls is not None and rack.tls.cert == "/tls/cert.pem"
    assert [host.is_on_this_machine for host in (tower, rack, second)] == [False, False, True]


@pytest.mark.parametrize("empty", [b"", b"hosts: []\n", b"# nothing yet\n"])
def test_a_file_that_names_no_host_leaves_the_operators_own(empty: bytes) -> None:
    found = parse_hosts(empty)
    assert (found.others, found.local.name) == ((), "local")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_on_loopback_no_certificates_are_needed(host: str) -> None:
    assert parse_hosts(_host(f"url: 'tcp://{host}:2375'")).others[0].tls is None


def _host(*lines: str, data: str = "sharedData: /d") -> bytes:
    return "\n".join(["hosts:", "- name: tower", *(f"  {line}" for line in (*lines, data) if line)]).encode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"host: []", "line 1: host: is not a field", id="misspelt"),
        pytest.param(b"hosts: 3", "line 1: hosts: must be a list", id="no list"),
        pytest.param(b"- tower", "one mapping with the field 'hosts'", id="no mapping"),
        pytest.param(b"hosts: [tower]", r"line 1: hosts\[0\]: must be a mapping", id="a word"),
        pytest.param(b"hosts: [", "line 1|line 2", id="no YAML"),
        pytest.param(b"hosts:\n- {name: Tower}", r"line 2: hosts\[0\].name: must be a DNS label", id="name"),
        pytest.param(b"hosts:\n- {url: 'unix:///x'}", r"hosts\[0\].name: is missing", id="no name"),
        pytest.param(_host(), "needs 'url' and 'sharedData'", id="no url"),
        pytest.param(_host("url: unix:///x", data=""), "needs 'url' and 'sharedData'", id="no folder"),
        pytest.param(_host("url: unix:///x", data="sharedData: d"), "sharedData: must be an absolute", id="relative"),
        pytest.param(_host("url: unix:///x", data="sharedData: /a/../b"), "sharedData: must be an absolute", id="dots"),
        pytest.param(_host("url: tcp://10.0.0.1:2375"), "needs 'tls'", id="open to all"),
        pytest.param(_host("url: tcp://localhost.evil.example:2375"), "needs 'tls'", id="not quite loopback"),
        pytest.param(_host("url: tcp://tower"), r"line 3: hosts\[0\].url: must be like", id="no port"),
        pytest.param(_host("url: 'tcp://tower:http'"), "is no URL", id="port is a word"),
        pytest.param(_host("url: http://tower:2375"), "url: must be like", id="other scheme"),
        pytest.param(_host("url: unix://x/y"), "url: must be like", id="socket with a host"),
        pytest.param(_host("url: 'ssh://-oProxyCommand=x'"), "url: must be like", id="an option for ssh"),
        pytest.param(_host("url: 'ssh://-l@tower'"), "url: must be like", id="an option as user"),
        pytest.param(_host("url: 'ssh://u:secret@tower'"), "url: must be like", id="password"),
        pytest.param(_host("url: unix:///x", "tls: {ca: /a, cert: /b, key: /c}"), "'tls' goes with", id="tls for none"),
        pytest.param(_host("url: unix:///x", "ssh: {key: /a}"), "'ssh' goes with", id="ssh for none"),
        pytest.param(_host("url: tcp://t:1", "tls: {ca: /a}"), r"tls.cert: is missing", id="half of tls"),
        pytest.param(_host("url: unix:///x", "capacity: {jobs: 0}"), "capacity.jobs: .*greater than", id="no jobs"),
        pytest.param(_host("url: unix:///x", "capacity: {cpu: many}"), "capacity.cpu: is not an amount", id="words"),
        pytest.param(b"hosts:\n- {name: local, url: 'unix:///x'}", "DOCKER_HOST", id="local elsewhere"),
        pytest.param(_host("url: unix:///x") + b"\n- {name: tower, url: 'unix:///y', sharedData: /d}",
                     "'tower' stands here twice", id="twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_with_its_place(text: bytes, words: str) -> None:
    with pytest.raises(HostsFileError, match=words):
        parse_hosts(text)


def test_the_file_and_the_variable_are_named(tmp_path: Path) -> None:
    assert read_hosts(None) == HostsFile()
    missing = str(tmp_path / "hosts.yaml")
    with pytest.raises(HostsFileError, match=f"cannot read {missing}, which OPEVA_HOSTS names: No such file"):
        read_hosts(missing)
    Path(missing).write_bytes(b"hosts: 3")
    with pytest.raises(HostsFileError, match=f"cannot use {missing}, which OPEVA_HOSTS names: line 1: hosts"):
        read_hosts(missing)
