"""A site: one real operator, as a process, on a volume and an engine; whatever it made is removed at the end."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
from docker import errors
from tests.e2e.jobs import ENDED, Told, job, text_of

IMAGE = "opeva-test/busybox:latest"
INSTANCE = "opeva.io/instance"
JOB = "opeva.io/job"
PATIENCE = 40.0
QUICK = {
    "OPEVA_SETTLE_SECONDS": "1",
    "OPEVA_DELETE_GRACE_SECONDS": "1",
    "OPEVA_RESYNC_SECONDS": "2",
    "OPEVA_POLL_SECONDS": "1",
    "OPEVA_MIN_FREE_BYTES": "0",
    "OPEVA_MAX_CONCURRENT_JOBS": "50",
    "OPEVA_DEFAULT_CPU": "0.01",  # what runs at once depends on no machine
    "OPEVA_DEFAULT_MEMORY": "1M",
    "OPEVA_ENGINE_TIMEOUT_SECONDS": "20",
    "OPEVA_DEFAULT_IMAGE": IMAGE,
}


class Site:
    """A volume, an engine, and the operator between them."""

    program: tuple[str, ...] = (str(Path(sys.executable).with_name("opeva-operator")),)

    def __init__(
        self, root: Path, network: str, *, docker_host: str | None = None, through: str | None = None, **settings: str
    ) -> None:
        """`docker_host` is the engine; `through` is where the operator believes it to be."""
        self.root = root
        self.network = network
        self.client = docker.APIClient(
            base_url=docker_host or os.environ.get("DOCKER_HOST"), version="auto", timeout=60
        )
        self.settings = {**QUICK, "OPEVA_SHARED_DATA": str(root), "OPEVA_DOCKER_NETWORK": network, **settings}
        if through or docker_host:
            self.settings["DOCKER_HOST"] = str(through or docker_host)
        self.process: subprocess.Popen[bytes] | None = None
        (root / "ledger").mkdir(parents=True, exist_ok=True)
        self.log = root / "operator.log"

    # -- the operator --------------------------------------------------------------------------------------------

    def start(self, *, synced: bool = True, **settings: str) -> None:
        """Start the operator; return when it says that it has looked at everything."""
        self.settings |= settings
        self.process = self.spawn()
        if synced:
            eventually(self.is_synced, "the operator says that it is synced", self.explain)

    def spawn(self) -> subprocess.Popen[bytes]:
        """One more operator process on the volume."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPEVA_", "COVERAGE"))}
        with self.log.open("ab") as log:
            return subprocess.Popen(self.program, env=inherited | self.settings, stdout=log, stderr=log)

    def is_synced(self) -> bool:
        """Whether the running operator has looked at everything once."""
        assert self.process is not None and self.process.poll() is None, f"the operator ended\n{self.explain()}"
        told = self.operator()
        return bool(told.get("synced")) and told["holder"]["pid"] == self.process.pid

    def operator(self) -> dict[str, Any]:
        """What `state/operator.json` tells."""
        try:
            return dict(json.loads((self.root / "state/operator.json").read_text()))
        except FileNotFoundError:
            return {}

    def kill(self) -> None:
        """End the operator as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the operator to end."""
        self._end(signal.SIGTERM)

    def restart(self, **settings: str) -> None:
        """Kill the operator and start it anew."""
        self.kill()
        self.start(**settings)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(30)
        self.process = None

    # -- files ---------------------------------------------------------------------------------------------------

    def drop(self, path: str, *jobs: dict[str, Any]) -> Path:
        """Rename a spec file with these jobs into place."""
        return self.put(f"specs/{path}", text_of(*jobs))

    def run(self, name: str, script: str = "true", **spec: Any) -> Path:
        """Drop the file `<name>.yaml` with one job."""
        return self.drop(f"{name}.yaml", job(name, script, **spec))

    def put(self, path: str, text: str) -> Path:
        """Rename a file into place."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.new")
        temporary.write_text(text)
        return temporary.rename(target)

    def wish(self, name: str, wish: str, **more: str) -> None:
        """Wish stop, rerun or delete of a job."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        body = {"id": f"{wish}-{time.monotonic_ns()}", "wish": wish, "by": "tester", "at": now, **more}
        self.put(f"control/{name}.json", json.dumps(body))

    def status(self, name: str) -> Told | None:
        """The job's status, None if it has none."""
        try:
            return Told(json.loads((self.root / f"status/{name}.json").read_text()))
        except FileNotFoundError:
            return None

    def rejected(self, path: str) -> list[dict[str, Any]]:
        """Why a spec file is rejected; empty when it is not."""
        try:
            return list(json.loads((self.root / f"rejected/{path}.json").read_text())["errors"])
        except FileNotFoundError:
            return []

    def runs(self, name: str) -> int:
        """How often the job was started, by its own account."""
        try:
            return len((self.root / "ledger" / name).read_text().splitlines())
        except FileNotFoundError:
            return 0

    # -- waiting -------------------------------------------------------------------------------------------------

    def until(self, name: str, *words: str, generation: int | None = None, within: float = PATIENCE) -> Told:
        """Wait until the job's phase and reason are among these words, in that generation."""

        def is_so() -> bool:
            told = self.status(name)
            return (
                told is not None
                and all(word in told.outcome for word in words)
                and generation in (None, told.generation)
            )

        eventually(is_so, f"{name} is {' '.join(words)} {generation or ''}", lambda: self.explain(name), within)
        told = self.status(name)
        assert told is not None
        return told

    def until_ended(self, name: str, generation: int = 1, within: float = PATIENCE) -> Told:
        """Wait until that generation of the job has ended."""
        eventually(
            lambda: (t := self.status(name)) is not None and t.phase in ENDED and t.generation == generation,
            f"generation {generation} of {name} has ended",
            lambda: self.explain(name),
            within,
        )
        told = self.status(name)
        assert told is not None
        return told

    def until_true(self, claim: Callable[[], Any], words: str, within: float = PATIENCE) -> None:
        """Wait until the claim holds."""
        eventually(claim, words, self.explain, within)

    def stays(self, name: str, seconds: float, **facts: object) -> None:
        """Hold that these facts of the job's status stay as they are."""

        def is_so() -> bool:
            told = self.status(name)
            return told is not None and all(getattr(told, key) == value for key, value in facts.items())

        consistently(is_so, f"{name}: {facts}", seconds, lambda: self.explain(name))

    def explain(self, name: str = "") -> str:
        """For a failed test: the status in question and the operator's last words."""
        told = self.status(name) if name else None
        status = json.dumps(told.raw["status"], indent=1) if told else "no status"
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"{name}: {status}\n...{log[-4000:]}"

    # -- the engine ----------------------------------------------------------------------------------------------

    @property
    def instance(self) -> str:
        """The volume's own id."""
        return str(json.loads((self.root / "state/instance.json").read_text())["id"])

    def containers(self, name: str | None = None) -> list[dict[str, Any]]:
        """The containers of this volume, or of one of its jobs."""
        labels = [f"{INSTANCE}={self.instance}", *([f"{JOB}={name}"] if name else [])]
        return list(self.client.containers(all=True, filters={"label": labels}))

    def container(self, name: str) -> str:
        """The id of the job's only container."""
        (found,) = self.containers(name)
        return str(found["Id"])

    def container_name(self, name: str) -> str:
        """What the job's container is called."""
        return f"opeva-{self.instance[:8]}-{name}"

    def _is_swept(self) -> bool:
        """Remove what is left; False when something may still be on its way out."""
        found = self.containers()
        for row in found:
            with suppress(errors.APIError):  # the operator's last wish may be under way
                self.client.remove_container(row["Id"], force=True, v=True)
        return not found

    def close(self) -> None:
        """End the operator; remove its containers."""
        self.kill()
        if (self.root / "state/instance.json").exists():
            eventually(self._is_swept, "all containers are removed")
        self.client.close()


def eventually(
    claim: Callable[[], Any], words: str, explain: Callable[[], str] = lambda: "", within: float = PATIENCE
) -> None:
    """Wait until the claim holds; fail with the words, and with what explains them, when it does not in time."""
    deadline = time.monotonic() + within
    while not claim():
        assert time.monotonic() < deadline, f"not within {within:g} s: {words}\n{explain()}"
        time.sleep(0.03)


def consistently(claim: Callable[[], Any], words: str, seconds: float, explain: Callable[[], str] = lambda: "") -> None:
    """Hold that the claim stays true for some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert claim(), f"no longer so: {words}\n{explain()}"
        time.sleep(0.05)


@contextmanager
def site_on(root: Path, network: str, **options: str) -> Iterator[Site]:
    """A site with its operator running, cleaned away at the end; options as of Site."""
    site = Site(root, network, **options)
    try:
        site.start()
        yield site
    finally:
        site.close()


@contextmanager
def network_of_session() -> Iterator[str]:
    """The name of a Docker network that whoever needs it makes; removed at the end."""
    name = f"opeva-test-{secrets.token_hex(4)}"
    client = docker.APIClient(base_url=os.environ.get("DOCKER_HOST"), version="auto")
    try:
        yield name
    finally:
        for row in client.networks(names=[name]):
            client.remove_network(row["Id"])
        client.close()
