"""Engines that an operator reaches as it would reach other machines: over TLS, and over ssh; all on loopback."""

import contextlib
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from tests.contract.private_engine import PrivateEngine

DAYS = "2"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "/usr/sbin/sshd"


class Certificates:
    """An authority, a server on loopback and a client, made by openssl."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._openssl("req", "-x509", *self._key("ca"), "-out", str(self.ca), "-subj", "/CN=authority", "-days", DAYS)
        self._sign("server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth")
        self._sign("client", "extendedKeyUsage=clientAuth")

    def tls(self) -> dict[str, str]:
        """As the hosts file names them."""
        return {"ca": str(self.ca), "cert": f"{self.folder}/client.pem", "key": f"{self.folder}/client.key"}

    def _key(self, name: str) -> list[str]:
        return ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{self.folder}/{name}.key"]

    def _sign(self, name: str, extension: str) -> None:
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(extension)
        self._openssl("req", *self._key(name), "-out", str(request), "-subj", f"/CN={name}")
        self._openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.ca), "-CAkey", f"{self.folder}/ca.key"),
            *("-CAcreateserial", "-days", DAYS, "-extfile", str(extensions), "-out", f"{self.folder}/{name}.pem"),
        )

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class TlsDoor:
    """A port on loopback that leads to a Unix socket, for those who show a certificate of the authority."""

    def __init__(self, target: str, certificates: Certificates) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca))
        context.load_cert_chain(certificates.folder / "server.pem", certificates.folder / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED
        self._context, self._target = context, target
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                guest, _ = self._door.accept()
                threading.Thread(target=self._lead, args=(guest,), daemon=True).start()

    def _lead(self, guest: socket.socket) -> None:
        with guest, contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as inner:
            with self._context.wrap_socket(guest, server_side=True) as outer:
                inner.connect(self._target)
                while self._passed(outer, inner):
                    pass

    @staticmethod
    def _passed(outer: ssl.SSLSocket, inner: socket.socket) -> bool:
        """Hand on what there is, from one thread, as TLS wants it; False at the end of either side."""
        ready = [outer] if outer.pending() else select.select([outer, inner], [], [])[0]
        for one in ready:
            data = one.recv(2**16)
            if not data:
                return False
            (inner if one is outer else outer).sendall(data)
        return True

    def close(self) -> None:
        """Let nobody in any more."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()


class Sshd:
    """An ssh server on loopback with keys of its own, which lets the user in who runs the tests."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.port = folder, _free_port()
        for name in ("host", "user"):
            made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"]
            subprocess.run(made, check=True, capture_output=True)
        key_type, key = (folder / "host.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key_type} {key}\n")
        (folder / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\nMaxStartups 100\n"
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # the server's own wish
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", f"{self.folder}/config"], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not _listens(self.port):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the ssh server does not listen"
            time.sleep(0.02)

    def ssh(self) -> dict[str, str]:
        """As the hosts file names it."""
        return {"key": f"{self.folder}/user", "knownHosts": f"{self.folder}/known_hosts"}

    def close(self) -> None:
        """End it; connections that stand go on."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class Farm:
    """Three engines: `cellar` at a socket, `tower` behind TLS, `attic` behind ssh."""

    def __init__(self, folder: Path, image: str) -> None:
        self.engines = {name: PrivateEngine() for name in ("cellar", "tower", "attic")}
        with contextlib.ExitStack() as started:
            for engine in self.engines.values():
                engine.start()
                started.callback(engine.close)
                engine.load(image)
            self.certificates = Certificates(folder / "tls")
            self.door = TlsDoor(self.engines["tower"].host.removeprefix("unix://"), self.certificates)
            started.callback(self.door.close)
            self.sshd = Sshd(folder / "ssh")
            started.callback(self.sshd.close)
            self._started = started.pop_all()

    def entries(self, root: Path) -> dict[str, dict[str, object]]:
        """The hosts, as the file names them, by their names."""
        socket_there = self.engines["attic"].host.removeprefix("unix://")
        found: dict[str, dict[str, object]] = {
            "cellar": {"url": self.engines["cellar"].host},
            "tower": {"url": f"tcp://127.0.0.1:{self.door.port}", "tls": self.certificates.tls()},
            "attic": {"url": f"ssh://127.0.0.1:{self.sshd.port}{socket_there}", "ssh": self.sshd.ssh()},
        }
        return {name: {"name": name, "sharedData": str(root), **entry} for name, entry in found.items()}

    def close(self) -> None:
        """End all of it."""
        self._started.close()


@contextlib.contextmanager
def farm_in(folder: Path, image: str) -> Iterator[Farm]:
    """A farm, ended at the end."""
    farm = Farm(folder, image)
    try:
        yield farm
    finally:
        farm.close()


def hosts_file(path: Path, *entries: dict[str, object]) -> str:
    """Write a hosts file; where it is."""
    path.write_text(yaml.safe_dump({"hosts": list(entries)}))
    return str(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
