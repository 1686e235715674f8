"""The ssh program as it is called, and a tunnel that fails, opens, breaks and leaves nothing behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opeva_operator import ssh_tunnel
from opeva_operator.engine import EngineUnreachable
from opeva_operator.ssh_tunnel import FIRST_PAUSE, LONGEST_PAUSE, SshTunnel, command, pause
from opeva_specs.hostsfile import Ssh

# Stands for ssh: notes its call, then says what the file `plan` tells, or opens the socket and stays.
PROGRAM = """#!/bin/sh
echo "$$ $*" >> {folder}/calls
words=$(cat {folder}/plan)
if [ -n "$words" ]; then echo "$words" >&2; exit 255; fi
for word; do case "$word" in *:/var/run/docker.sock) touch "${{word%%:*}}";; esac; done
exec sleep 60
"""


class Stand:
    """A program called ssh that does what the test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "ssh"
        program.write_text(PROGRAM.format(folder=folder))
        program.chmod(0o755)
        self.plan("")

    def plan(self, words: str) -> None:
        """Refuse with these words; without any, open."""
        (self.folder / "plan").write_text(words)

    def pids(self) -> list[int]:
        """Of every call so far."""
        calls = self.folder / "calls"
        return [int(line.split()[0]) for line in calls.read_text().splitlines()] if calls.exists() else []


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Stand(tmp_path)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_leads_to_the_engines_socket_there() -> None:
    words = command("ssh://ann@tower:2222", Ssh(), "/tmp/s")
    assert words[:3] == ["ssh", "-N", "-T"]
    assert words[-8:] == ["-p", "2222", "-l", "ann", "-L", "/tmp/s:/var/run/docker.sock", "--", "tower"]


def test_the_path_of_the_url_is_the_socket_there() -> None:
    assert "/tmp/s:/run/user/7/docker.sock" in command("ssh://tower/run/user/7/docker.sock", Ssh(), "/tmp/s")


def test_nobody_is_asked_and_no_unknown_host_is_trusted() -> None:
    words = command("ssh://tower", Ssh(key="/k/my key", known_hosts="/k/100%"), "/tmp/s")
    assert 'BatchMode="yes"' in words
    assert not any("StrictHostKeyChecking" in word for word in words)
    assert {'IdentityFile="/k/my key"', 'IdentitiesOnly="yes"', 'UserKnownHostsFile="/k/100%%"'} <= set(words)
    assert words[words.index('IdentityFile="/k/my key"') - 1] == "-o"


def test_a_real_ssh_takes_the_command(tmp_path: Path) -> None:
    key = tmp_path / "my key"
    key.touch(mode=0o600)
    words = command("ssh://ann@tower:2222", Ssh(key=str(key), known_hosts=str(tmp_path / "100%")), "/tmp/s")
    told = subprocess.run([words[0], "-G", *words[1:]], capture_output=True, text=True, check=True).stdout.splitlines()
    expected = {"user ann", "hostname tower", "port 2222", "batchmode yes", f"identityfile {key}"}
    assert expected <= set(told)
    assert "stricthostkeychecking false" not in told


# -- its life ------------------------------------------------------------------------------------------------------


def test_it_is_opened_once_and_ended_with_all_that_belongs_to_it(stand: Stand) -> None:
    tunnel = SshTunnel("ssh://tower")
    socket = tunnel.ensure()
    assert tunnel.ensure() == socket
    (pid,) = stand.pids()
    group = os.getpgid(pid)
    assert group != os.getpgid(0)
    tunnel.close()
    assert not is_alive(pid)
    eventually(lambda: not _group_lives(group))
    assert not Path(socket).parent.exists()


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_ended_is_opened_anew(stand: Stand) -> None:
    tunnel = SshTunnel("ssh://tower")
    socket = tunnel.ensure()
    (first,) = stand.pids()
    os.kill(first, 9)
    eventually(lambda: not is_alive(first))
    assert tunnel.ensure() == socket
    assert len(stand.pids()) == 2
    tunnel.close()


def test_a_refusal_is_told_in_sshs_own_words_and_not_asked_for_again_at_once(stand: Stand) -> None:
    stand.plan("Host key verification failed.")
    tunnel = SshTunnel("ssh://tower")
    for _ in range(3):
        with pytest.raises(EngineUnreachable, match=r"cannot reach ssh://tower by ssh: Host key verification failed\."):
            tunnel.ensure()
    assert len(stand.pids()) == 1
    tunnel.close()


def test_a_server_that_refuses_is_asked_less_and_less_often_until_it_lets_us_in(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(ssh_tunnel.time, "monotonic", lambda: now[0])
    tunnel = SshTunnel("ssh://tower")
    stand.plan("Permission denied")
    for _ in range(300):
        with pytest.raises(EngineUnreachable):
            tunnel.ensure()
        now[0] += 1
    assert len(stand.pids()) == 9  # after 0, 2, 6, 14, 30, 62, 122, 182 and 242 seconds
    stand.plan("")
    now[0] += LONGEST_PAUSE
    tunnel.ensure()
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{stand.folder}:{os.environ['PATH']}")
    os.kill(stand.pids()[-1], 9)
    eventually(lambda: not is_alive(stand.pids()[-1]))
    tunnel.ensure()  # at once: that it broke is no refusal
    tunnel.close()


def test_pauses_grow_to_a_minute() -> None:
    assert [pause(n) for n in (1, 2, 3, 4, 5, 6, 7, 1000)] == [FIRST_PAUSE, 4, 8, 16, 32, *[LONGEST_PAUSE] * 3]


def test_an_operator_that_is_killed_leaves_no_ssh_behind(stand: Stand) -> None:
    code = "import time; from opeva_operator.ssh_tunnel import SshTunnel; tunnel = SshTunnel('ssh://tower'); "
    code += "print(tunnel.ensure(), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip()).parent
        assert folder.is_dir()
        (pid,) = stand.pids()
        assert is_alive(pid)
        owner.kill()
    eventually(lambda: not is_alive(pid) and not folder.exists())
