"""Engines that an operator reaches as it would reach other machines: over TLS, and over ssh; all on loopback."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.contract.doors import SshDoor, TlsDoor
from tests.contract.private_engine import PrivateEngine

from opeva_specs.hostsfile import HostEntry


class Farm:
    """Three engines: `cellar` at a socket, `tower` behind TLS, `attic` behind ssh."""

    def __init__(self, image: str) -> None:
        self.engines = {name: PrivateEngine() for name in ("cellar", "tower", "attic")}
        with contextlib.ExitStack() as started:
            for engine in self.engines.values():
                engine.start()
                started.callback(engine.close)
                engine.load(image)
            self.tls_door = TlsDoor(self.socket("tower"))
            started.callback(self.tls_door.close)
            self.ssh_door = SshDoor(self.socket("attic"))
            started.callback(self.ssh_door.close)
            self._started = started.pop_all()

    def socket(self, name: str) -> str:
        """Where that engine listens."""
        return self.engines[name].host.removeprefix("unix://")

    def entries(self, root: Path) -> dict[str, dict[str, Any]]:
        """The hosts, as the file names them, by their names."""
        found = {
            "cellar": HostEntry(name="cellar", url=self.engines["cellar"].host, shared_data=str(root)),
            "tower": self.tls_door.entry("tower", str(root)),
            "attic": self.ssh_door.entry("attic", str(root)),
        }
        return {name: entry.model_dump(by_alias=True, exclude_defaults=True) for name, entry in found.items()}

    def close(self) -> None:
        """End all of it."""
        self._started.close()


@contextlib.contextmanager
def farm_of(image: str) -> Iterator[Farm]:
    """A farm, ended at the end."""
    farm = Farm(image)
    try:
        yield farm
    finally:
        farm.close()


def hosts_file(path: Path, *entries: dict[str, Any]) -> str:
    """Write a hosts file; where it is."""
    path.write_text(yaml.safe_dump({"hosts": list(entries)}))
    return str(path)
