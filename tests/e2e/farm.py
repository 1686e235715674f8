"""Engines that an operator reaches as it would reach other machines: over TLS, and over ssh; all on loopback."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import yaml
from tests.contract.private_engine import PrivateEngine
from tests.contract.ways import Certificates, Sshd, TlsDoor


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
