"""The file that names other hosts: what may stand in it, and words that lead to what may not."""

from pathlib import Path

import pytest

from opeva_specs.hostsfile import HostsFileError, parse_hosts, read_hosts

TLS = "tls: {ca: /c/ca.pem, cert: /c/cert.pem, key: /c/key.pem}"


def parse(text: str) -> list[str]:
    """The names of other hosts."""
    return [host.name for host in parse_hosts(text.encode()).others]


def one(fields: str) -> str:
    """A file with one host of these fields."""
    return f"hosts:\n  - {{name: tower, sharedData: /mnt/data, {fields}}}\n"


def test_a_whole_host_is_read() -> None:
    text = one(
        "url: 'ssh://opeva@tower:2222', labels: {room: roof}, "
        "capacity: {cpu: 30, memory: 120Gi, gpu: 2, jobs: 8}, ssh: {key: /k, knownHosts: /h}"
    )
    (tower,) = parse_hosts(text.encode()).others
    assert (tower.name, tower.url, tower.shared_data) == ("tower", "ssh://opeva@tower:2222", "/mnt/data")
    assert (dict(tower.labels), tower.capacity.jobs, tower.capacity.gpu) == ({"room": "roof"}, 8, 2)
    assert tower.ssh is not None and (tower.ssh.key, tower.ssh.known_hosts) == ("/k", "/h")
    assert not tower.is_on_this_machine


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "hosts: []\n", "---\n"])
def test_a_file_without_hosts_names_only_the_local_one(text: str) -> None:
    file = parse_hosts(text.encode())
    assert (file.others, file.local.name) == ((), "local")


def test_no_file_is_no_more_hosts() -> None:
    assert read_hosts(None).others == ()


def test_the_local_host_may_be_given_labels_and_a_capacity() -> None:
    file = parse_hosts(b"hosts: [{name: local, labels: {a: b}, capacity: {jobs: 2}}]")
    assert (dict(file.local.labels), file.local.capacity.jobs, file.others) == ({"a": "b"}, 2, ())


@pytest.mark.parametrize(
    "fields",
    [
        "url: 'unix:///run/other.sock'",
        f"url: 'tcp://tower:2376', {TLS}",
        f"url: 'tcp://[fe80::1]:2376', {TLS}",
        "url: 'tcp://127.0.0.1:2375'",
        "url: 'tcp://localhost:2375'",
        "url: 'ssh://tower'",
        "url: 'ssh://opeva@tower:22/run/user/1000/docker.sock'",
    ],
)
def test_engines_are_reached_in_three_ways(fields: str) -> None:
    assert parse(one(fields)) == ["tower"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param("url: 'tcp://tower:2376'", "needs 'tls'", id="tcp without tls"),
        pytest.param("url: 'tcp://tower'", "must be like", id="tcp without a port"),
        pytest.param("url: 'tcp://tower:x'", "is no URL", id="a port that is no number"),
        pytest.param("url: 'tcp://ann@tower:1'", "must be like", id="tcp with a user"),
        pytest.param("url: 'http://tower:1'", "must be like", id="another scheme"),
        pytest.param("url: tower", "must be like", id="no scheme"),
        pytest.param("url: 'unix://run/other.sock'", "must be like", id="a socket with two slashes"),
        pytest.param("url: 'ssh://ann:secret@tower'", "must be like", id="a password"),
        pytest.param("url: 'ssh://-oProxyCommand=touch'", "must be like", id="an option of ssh for a host"),
        pytest.param("url: 'ssh://-l@tower'", "must be like", id="an option of ssh for a user"),
        pytest.param("url: 'ssh://tower?x=1'", "must end with", id="a query"),
        pytest.param(f"url: 'ssh://tower', {TLS}", "'tls' goes with", id="tls for ssh"),
        pytest.param("url: 'unix:///s', ssh: {key: /k}", "'ssh' goes with", id="ssh for a socket"),
        pytest.param("url: 'tcp://127.0.0.1:1', tls: {ca: /c}", "tls.cert: is missing", id="half of tls"),
        pytest.param("labels: {a: b}", "needs 'url' and 'sharedData'", id="no url"),
        pytest.param("url: 'ssh://tower', capacity: {jobs: 0}", "capacity.jobs", id="no places"),
        pytest.param("url: 'ssh://tower', capacity: {cpu: lots}", "capacity.cpu", id="no number of cores"),
        pytest.param("url: 'ssh://tower', colour: red", "hosts[0].colour: is not a field here", id="an unknown field"),
        pytest.param("url: 7", "must be text", id="a number for a url"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line_and_field(fields: str, words: str) -> None:
    with pytest.raises(HostsFileError, match=r"^line 2: hosts\[0\]") as refused:
        parse(one(fields))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("hosts: {tower: 1}", "must be a list", id="no list"),
        pytest.param("- tower", "one mapping with the field 'hosts'", id="no mapping"),
        pytest.param("hosts: [\n", "line", id="no YAML"),
        pytest.param("machines: []", "machines: is not a field here", id="another field"),
        pytest.param("hosts: []\n---\nhosts: []", "one mapping", id="two documents"),
        pytest.param("hosts: [{name: Tower}]", "hosts[0].name", id="a name that is none"),
        pytest.param("hosts: [{name: local, url: 'unix:///s'}]", "DOCKER_HOST", id="local elsewhere"),
        pytest.param(
            "hosts:\n- {name: a, url: 'ssh://x', sharedData: /d}\n- {name: a, url: 'ssh://y', sharedData: /d}",
            "'a' stands here twice",
            id="one name twice",
        ),
        pytest.param(
            "hosts:\n- {name: a, url: 'ssh://x', sharedData: /d}\n- {name: b, url: 'ssh://x', sharedData: /d}",
            "'ssh://x' stands here twice",
            id="one url twice",
        ),
        pytest.param("hosts: [{name: a, url: 'ssh://x', sharedData: data}]", "absolute path", id="a relative path"),
        pytest.param("hosts: [{name: a, url: 'ssh://x', sharedData: /a/../b}]", "absolute path", id="dots"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_so(text: str, words: str) -> None:
    with pytest.raises(HostsFileError) as refused:
        parse(text)
    assert words in str(refused.value)


def test_the_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(HostsFileError, match=r"cannot read .*/hosts\.yaml, which OPEVA_HOSTS names: No such file"):
        read_hosts(str(tmp_path / "hosts.yaml"))
    (tmp_path / "hosts.yaml").write_text("hosts: 3")
    with pytest.raises(HostsFileError, match=r"cannot use .*/hosts\.yaml, which OPEVA_HOSTS names: line 1: hosts"):
        read_hosts(str(tmp_path / "hosts.yaml"))


def test_the_example_can_be_used() -> None:
    file = read_hosts(str(Path(__file__).parents[2] / "examples/hosts.yaml"))
    assert {host.name for host in file.others} == {"cellar", "tower", "attic"}
    assert [bool(host.tls) for host in file.others] == [False, True, False]
    assert file.local.capacity.jobs is not None
