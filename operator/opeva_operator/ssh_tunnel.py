"""SshTunnel: a Unix socket here that leads to an engine's socket on another machine, through one ssh connection.

All calls and streams share the connection, and have the time limits of any other socket. Only the ssh program is
needed; it is started anew at the next call after it ended.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path
from urllib.parse import urlsplit

from opeva_operator.engine import EngineUnreachable
from opeva_specs.hostsfile import Ssh

DOCKER_SOCKET = "/var/run/docker.sock"
CONNECT_SECONDS = 10
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # whoever asks so soon after a failure hears of that failure
OPTIONS = {
    "BatchMode": "yes",  # nobody is there to type a password, or to say yes to an unknown host
    "ExitOnForwardFailure": "yes",
    "ConnectTimeout": str(CONNECT_SECONDS),
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ControlPath": "none",  # a connection shared with others would not end with this one
    "LogLevel": "ERROR",
}
# The shell becomes ssh, and a process beside it removes their folder and ends their group when this operator is gone,
# however it went: the other end of its input is closed then.
_GUARD = 'exec 3<&0 </dev/null; { read -r _ <&3; rm -rf -- "$0"; kill -9 0; } >/dev/null 2>&1 & exec "$@" 3<&-'


class SshTunnel:
    """Opened at the first need, and again when it has ended."""

    def __init__(self, url: str, files: Ssh | None = None) -> None:
        self._url, self._files = url, files or Ssh()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._failures = 0  # in a row: a server that is asked too often shuts its door
        self._failed_at = float("-inf")
        self._words = ""

    def ensure(self) -> str:
        """The socket's path, with the tunnel open; raises EngineUnreachable with ssh's own words."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="opeva-ssh-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            socket = self._folder / "s"
            if self._process is None or self._process.poll() is not None:
                self._open(socket)
            return str(socket)

    def close(self) -> None:
        """End the connection; the next need opens a new one."""
        with self._lock:
            self._end()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _open(self, socket: Path) -> None:
        if time.monotonic() - self._failed_at < pause(self._failures):
            raise EngineUnreachable(self._words)
        self._end()
        socket.unlink(missing_ok=True)
        said = socket.with_name("said")
        with said.open("wb") as words:
            self._process = subprocess.Popen(
                ["sh", "-c", _GUARD, str(socket.parent), *command(self._url, self._files, str(socket))],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 2 * CONNECT_SECONDS
        while not socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._end()
                self._failures += 1
                self._failed_at, self._words = time.monotonic(), self._complaint(said)
                raise EngineUnreachable(self._words)
            time.sleep(0.01)
        self._failures, self._failed_at = 0, float("-inf")

    def _complaint(self, said: Path) -> str:
        lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"cannot reach {self._url} by ssh: {lines[-1].strip() if lines else 'it says nothing'}"

    def _end(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # the process beside it keeps the group's number ours
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._process = None


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))


def command(url: str, files: Ssh, socket: str) -> list[str]:
    """The ssh command whose connection makes `socket` lead to the engine's: pure."""
    parts = urlsplit(url)
    options = dict(OPTIONS)
    if files.key is not None:
        options |= {"IdentityFile": files.key, "IdentitiesOnly": "yes"}
    if files.known_hosts is not None:
        options |= {"UserKnownHostsFile": files.known_hosts}
    given = [word for name, value in options.items() for word in ("-o", f'{name}="{value.replace("%", "%%")}"')]
    port = ["-p", str(parts.port)] if parts.port else []
    user = ["-l", parts.username] if parts.username else []
    there = parts.path if parts.path not in ("", "/") else DOCKER_SOCKET
    return ["ssh", "-N", "-T", *given, *port, *user, "-L", f"{socket}:{there}", "--", parts.hostname or ""]
