"""A Docker engine of a test's own, which may be killed and started again while the machine's own goes on."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

START_SECONDS = 60.0

# Who may not start a daemon asks, without a question on the terminal.
_AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


class PrivateEngine:
    """A dockerd with its own data, socket and network namespace, in which it may do to the network what it likes."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="opeva-engine-", dir="/var/tmp"))
        self.host = f"unix://{self.folder}/s"
        self._options = options
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            *(*_AS_ROOT, "unshare", "--net", "dockerd", "--iptables=false", *self._options),
            *("--host", self.host, "--pidfile", f"{self.folder}/pid"),
            *("--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"),
        ]
        with (self.folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while self._docker("version").returncode != 0:
            assert self._daemon.poll() is None, f"the private engine ended: {self._last_words()}"
            assert time.monotonic() < deadline, f"the private engine does not answer: {self._last_words()}"
            time.sleep(0.1)

    def load(self, image: str) -> None:
        """Copy an image from the machine's own engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(["docker", "--host", self.host, "load"], stdin=saved.stdout, check=True, capture_output=True)

    def stop(self, signal: signal.Signals) -> None:
        """End it by that signal and wait until it is gone."""
        assert self._daemon is not None
        self.send(signal)
        self._daemon.wait(60)
        self._daemon = None
        # A killed engine leaves these behind, and its containerd takes a moment to follow it.
        for left in (self.folder / "exec" / "containerd" / "containerd.pid", self.folder / "pid"):
            if left.exists():
                _wait_for_end(left.read_text(encoding="ascii").strip())
                subprocess.run([*_AS_ROOT, "rm", "-f", str(left)], check=True)

    def send(self, signal: signal.Signals) -> None:
        """Send it a signal; SIGSTOP freezes it, SIGCONT lets it go on."""
        pid = (self.folder / "pid").read_text(encoding="ascii").strip()
        subprocess.run([*_AS_ROOT, "kill", f"-{signal.value}", pid], check=True)

    def close(self) -> None:
        """End it with all its containers, and remove its data."""
        if self._daemon is None:
            self.start()
        found = self._docker("ps", "--all", "--quiet").stdout.split()
        if found:
            self._docker("rm", "--force", *found)
        self.stop(signal.SIGTERM)
        # A killed engine leaves mounts behind.
        for line in reversed(Path("/proc/mounts").read_text(encoding="utf-8").splitlines()):
            if line.split()[1].startswith(f"{self.folder}/"):
                subprocess.run([*_AS_ROOT, "umount", line.split()[1]], check=True)
        if _AS_ROOT:
            subprocess.run([*_AS_ROOT, "rm", "-r", f"{self.folder}/data", f"{self.folder}/exec"], check=True)
        shutil.rmtree(self.folder)

    def _docker(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["docker", "--host", self.host, *arguments], capture_output=True, text=True, timeout=30)

    def _last_words(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]


def _wait_for_end(pid: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while _is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.05)


def _is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
