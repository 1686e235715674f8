"""Stage: a temporary volume, a network and the processes on it; when it closes, nothing of it is left."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker
import httpx
import orjson

from opeva_operator.engine import INSTANCE
from opeva_specs.settings import Settings, load_settings
from opeva_specs.status import JobStatus
from opeva_specs.store import Damaged, StatusStore
from opeva_specs.volume import SharedVolume

IMAGE = "opeva-test/busybox:latest"
PATIENCE_SECONDS = 180.0
# Where a fsync is one: the usual temporary folder may lie in memory.
PARENT = "/var/tmp"


@dataclass(frozen=True, slots=True)
class Running:
    """A process of ours; `ready_seconds` is how long it took to be of use."""

    process: subprocess.Popen[bytes]
    ready_seconds: float
    url: str = ""


@dataclass(slots=True)
class Stage:
    """A volume of its own, so that no other job on this engine is touched."""

    client: docker.APIClient
    settings_given: dict[str, str] = field(default_factory=dict)
    root: Path = field(init=False)
    network: str = field(init=False)

    def __enter__(self) -> Self:
        self.root = Path(tempfile.mkdtemp(prefix="opeva-bench-", dir=PARENT))
        self.network = f"opeva-bench-{uuid.uuid4().hex[:8]}"
        self.volume.make_folders()
        self.client.create_network(self.network, driver="bridge")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._show_logs()
        for instance in (self.instance, self.floor_instance):
            self.remove_containers(instance)
        self.client.remove_network(self.network)
        shutil.rmtree(self.root)

    def _show_logs(self) -> None:
        """What the processes said last: it goes with the volume."""
        for log in sorted(self.root.glob("*.log")):
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-20:], sep="\n", file=sys.stderr)

    @property
    def volume(self) -> SharedVolume:
        """The temporary volume."""
        return SharedVolume(self.root)

    @property
    def statuses(self) -> StatusStore:
        """What the operator tells."""
        return StatusStore(self.volume)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of this stage's processes."""
        return {
            "OPEVA_SHARED_DATA": str(self.root),
            "OPEVA_DOCKER_NETWORK": self.network,
            "OPEVA_DEFAULT_IMAGE": IMAGE,
            "OPEVA_DEFAULT_CPU": "0",  # the floor counts no CPUs: only the number of jobs limits both alike
            "OPEVA_DEFAULT_MEMORY": "0",
            **self.settings_given,
        }

    @property
    def settings(self) -> Settings:
        """The same, as the processes read them."""
        return load_settings(self.environment)

    @property
    def instance(self) -> str:
        """The volume's id; empty before an operator was there."""
        with contextlib.suppress(FileNotFoundError):
            return str(orjson.loads((self.root / "state/instance.json").read_bytes())["id"])
        return ""

    @property
    def floor_instance(self) -> str:
        """The id on containers that are made without the operator, which must not take them for its own."""
        return f"{self.network[-8:]}-floor"

    def containers(self, instance: str) -> list[dict[str, Any]]:
        """The engine's rows of all containers of an instance."""
        found: list[dict[str, Any]] = self.client.containers(all=True, filters={"label": f"{INSTANCE}={instance}"})
        return found

    def remove_containers(self, instance: str) -> None:
        """Remove what is left of an instance."""
        if not instance:
            return
        for row in self.containers(instance):
            with contextlib.suppress(docker.errors.NotFound):
                self.client.remove_container(row["Id"], force=True, v=True)

    # -- processes -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def operator(self, **settings: str) -> Iterator[Running]:
        """An operator that has looked at every job once, until the block ends."""
        with self._process("opeva-operator", settings) as (process, began):
            wait_until(lambda: self._is_synced(process), "the operator is synced", every=0.005)
            yield Running(process, time.perf_counter() - began)

    def _is_synced(self, process: subprocess.Popen[bytes]) -> bool:
        _must_live(process)
        with contextlib.suppress(FileNotFoundError):
            told = orjson.loads((self.root / "state/operator.json").read_bytes())
            return bool(told["synced"] and told["holder"]["pid"] == process.pid)
        return False

    @contextlib.contextmanager
    def api(self, **settings: str) -> Iterator[Running]:
        """An API that answers, until the block ends."""
        port = _free_port()
        with self._process("opeva-api", {"OPEVA_API_PORT": str(port), **settings}) as (process, began):
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _answers(url, process), "the API answers", every=0.02)
            yield Running(process, time.perf_counter() - began, url)

    @contextlib.contextmanager
    def _process(self, command: str, settings: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPEVA_")}
        program = Path(sys.executable).with_name(command)
        began = time.perf_counter()
        with (self.root / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(program)], env={**kept, **self.environment, **settings}, stdout=log, stderr=log
            )
        try:
            yield process, began
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- jobs ----------------------------------------------------------------------------------------------------

    def drop(self, name: str, text: str) -> float:
        """Rename a spec into place; the moment (seconds since 1970) at which that began."""
        hidden = self.root / "specs" / f".{name}.tmp"
        hidden.write_text(text)
        began = time.time()
        hidden.rename(self.root / "specs" / f"{name}.yaml")
        return began

    def status(self, name: str) -> JobStatus | None:
        """What the operator tells of a job now."""
        with contextlib.suppress(Damaged):
            return self.statuses.read(name)
        return None

    def phase(self, name: str) -> str | None:
        """The phase that the operator tells of a job now; cheap enough to ask for thousands."""
        try:
            told = orjson.loads((self.root / "status" / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        return str(told["status"]["phase"])

    def wait_for_phase(self, names: Sequence[str], phase: str, patience_seconds: float) -> None:
        """Return when all these jobs are in that phase."""
        left = deque(names)

        def have_all() -> bool:
            while left and self.phase(left[0]) == phase:
                left.popleft()
            return not left

        what = f"{len(names)} jobs are {phase}"
        wait_until(have_all, what, every=0.2, patience_seconds=patience_seconds)

    def started_at(self, name: str) -> float:
        """When the job's container was started by the engine's clock; waits for it."""
        found: list[float] = []

        def has_started() -> bool:
            status = self.status(name)
            attempt = status.attempt if status else None
            if attempt is not None and attempt.started_at is not None:
                found.append(attempt.started_at.timestamp())
            return bool(found)

        wait_until(has_started, f"job {name} is started", every=0.05)
        return found[0]

    def wait_for_end(self, names: list[str]) -> list[JobStatus]:
        """The statuses of these jobs once all have ended and none has a container any more."""
        ended: dict[str, JobStatus] = {}

        def have_ended() -> bool:
            for name in names:
                status = self.status(name) if name not in ended else None
                if status is not None and status.status.phase.is_terminal:
                    ended[name] = status
            return len(ended) == len(names)

        wait_until(have_ended, f"{len(names)} jobs have ended", every=0.1)
        wanted = set(names)
        wait_until(
            lambda: not any(row["Labels"].get("opeva.io/job") in wanted for row in self.containers(self.instance)),
            "their containers are removed",
            every=0.1,
        )
        return [ended[name] for name in names]


def spec_text(name: str, args: list[str], **more: Any) -> str:
    """A job spec, as a person writes it; `more` are other fields of it."""
    lines = [
        "apiVersion: opeva.io/v1",
        "kind: SimulationJob",
        f"metadata: {{name: {name}}}",
        "spec:",
        f"  image: {IMAGE}",
        f"  args: {orjson.dumps(args).decode()}",
    ]
    lines += [f"  {field}: {orjson.dumps(value).decode()}" for field, value in more.items()]
    return "\n".join([*lines, ""])


def wait_until(
    is_true: Callable[[], bool], what: str, *, every: float, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Return when it is true; raises TimeoutError after some minutes."""
    deadline = time.monotonic() + patience_seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience_seconds:.0f} s in vain until {what}")
        time.sleep(every)


def _must_live(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} ended by itself with exit code {process.returncode}")


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    _must_live(process)
    try:
        return httpx.get(f"{url}/health", timeout=10).status_code == 200
    except httpx.ConnectError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
