"""Doors to an engine's Unix socket: through TLS with certificates on both sides, and through ssh to a private sshd."""

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from opeva_specs.hostsfile import HostEntry, Ssh, Tls

START_SECONDS = 20.0
CHUNK_BYTES = 2**16


class TlsDoor:
    """A port on loopback that takes TLS from whoever has our certificate, and passes it on to the socket."""

    def __init__(self, engine_socket: str) -> None:
        self._socket = engine_socket
        self.folder = Path(tempfile.mkdtemp(prefix="opeva-tls-"))
        for name in ("server", "client"):
            _certify(self.folder, name)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls-door", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context()))
        self.port = self._server.sockets[0].getsockname()[1]

    def entry(self, name: str, shared_data: str, client: str = "client") -> HostEntry:
        """The host behind it, as a hosts file writes it."""
        return HostEntry(name=name, url=f"tcp://127.0.0.1:{self.port}", shared_data=shared_data, tls=self.files(client))

    def files(self, client: str = "client") -> Tls:
        """What a client needs."""
        cert, key = (str(self.folder / f"{client}.{end}") for end in ("pem", "key"))
        return Tls(ca=str(self.folder / "server-ca.pem"), cert=cert, key=key)

    def close(self) -> None:
        """Close it with all that goes through it."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self.folder)

    async def _stop(self) -> None:
        self._server.close()
        passing = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        context.load_verify_locations(self.folder / "client-ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _serve(self, outside: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            inside, on = await asyncio.open_unix_connection(self._socket)
            ways = {asyncio.create_task(_pump(outside, on)), asyncio.create_task(_pump(inside, back))}
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                on.close()
        back.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()


def _certify(folder: Path, name: str) -> None:
    """`<name>.pem` and `<name>.key`, signed by an authority of their own, `<name>-ca.pem`; good for loopback."""
    _openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority "
             f"-keyout {name}-ca.key -out {name}-ca.pem")  # fmt: skip
    _openssl(folder, f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl(folder, f"x509 -req -days 2 -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial "
             f"-extfile names -out {name}.pem")  # fmt: skip


def _openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)


class SshDoor:
    """A sshd on loopback that knows one key; what comes through is whatever its user may do."""

    def __init__(self, engine_socket: str) -> None:
        self._socket = engine_socket
        self.folder = Path(tempfile.mkdtemp(prefix="opeva-sshd-"))
        for name in ("host", "user"):
            key = str(self.folder / name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        self.port = free_port()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}")
        (self.folder / "config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder}/host\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {self.folder}/user.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        )
        self._daemon: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # it insists
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        with (self.folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen([program, "-D", "-e", "-f", f"{self.folder}/config"], stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            assert self._daemon.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def entry(self, name: str, shared_data: str, key: str = "user") -> HostEntry:
        """The host behind it, as a hosts file writes it."""
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self._socket}"
        files = Ssh(key=str(self.folder / key), known_hosts=str(self.folder / "known_hosts"))
        return HostEntry(name=name, url=url, shared_data=shared_data, ssh=files)

    def stop(self) -> None:
        """End it with all connections through it."""
        if self._daemon is not None:
            self._end_sessions(self._daemon.pid)
            self._daemon.terminate()
            self._daemon.wait(START_SECONDS)
            self._daemon = None

    def _end_sessions(self, pid: int) -> None:
        """Each connection has a process of its own, a child of the daemon."""
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        subprocess.run(["kill", *children], check=False, capture_output=True)

    def close(self) -> None:
        """End it and forget its keys."""
        self.stop()
        shutil.rmtree(self.folder)


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
