"""The ssh command of a tunnel, and what is said when there is none."""

import itertools
import time

import pytest

from opeva_operator.engine import EngineUnreachable
from opeva_operator.ssh_tunnel import OPTIONS, SshTunnel, command
from opeva_specs.hostsfile import Ssh


def test_the_command_names_everything_and_asks_nobody() -> None:
    files = Ssh(key="/keys/my id", known_hosts="/keys/known")
    found = command("ssh://opeva@tower.example:2222/run/d.sock", files, "/tmp/x/s")
    assert found[:3] == ["ssh", "-N", "-T"]
    assert found[-8:] == ["-p", "2222", "-l", "opeva", "-L", "/tmp/x/s:/run/d.sock", "--", "tower.example"]
    options = dict(word.split("=", 1) for flag, word in itertools.pairwise(found) if flag == "-o")
    assert options["BatchMode"] == '"yes"'
    assert (options["IdentityFile"], options["IdentitiesOnly"]) == ('"/keys/my id"', '"yes"')
    assert options["UserKnownHostsFile"] == '"/keys/known"'


def test_what_is_not_written_is_left_to_the_ssh_program() -> None:
    found = command("ssh://tower", Ssh(), "/tmp/x/s")
    given = {word.split("=")[0] for flag, word in itertools.pairwise(found) if flag == "-o"}
    assert given == set(OPTIONS)
    assert found[-4:] == ["-L", "/tmp/x/s:/var/run/docker.sock", "--", "tower"]
    assert "-p" not in found and "-l" not in found


def test_the_words_of_ssh_are_told_and_asked_for_with_a_pause() -> None:
    tunnel = SshTunnel("ssh://127.0.0.1:1/x", Ssh(known_hosts="/dev/null"))
    with pytest.raises(EngineUnreachable, match=r"cannot reach ssh://127.0.0.1:1/x by ssh: .*Connection refused"):
        tunnel.ensure()
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(EngineUnreachable, match="Connection refused"):
            tunnel.ensure()
    assert time.monotonic() - began < 0.1
    tunnel.close()
