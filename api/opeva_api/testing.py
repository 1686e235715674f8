"""For tests: the API served on a free port, and an operator that is only played, by writing the files it would."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from opeva_api.app import create_app, listen
from opeva_specs.settings import Settings
from opeva_specs.status import Attempt, JobStatus, Meta, Observed, Phase, Wish, rfc3339
from opeva_specs.store import ControlStore, StatusStore
from opeva_specs.volume import SharedVolume

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = "d" * 64
_STARTED = frozenset({Phase.RUNNING, Phase.STOPPING, Phase.FINISHED, Phase.FAILED, Phase.STOPPED})


def job_status(name: str, phase: Phase = Phase.RUNNING, *, exit_code: int | None = None, **observed: Any) -> JobStatus:
    """A believable status of a job that was queued at START, started 1 s later and ran for 60 s."""
    is_started, is_ended = phase in _STARTED, phase.is_terminal
    attempt = Attempt(
        generation=1,
        attempt=1,
        container_id="c" * 64,
        image="example/simulator:v1",
        queued_at=START,
        created_at=START,
        started_at=START + timedelta(seconds=1),
        finished_at=START + timedelta(seconds=61) if is_ended else None,
        exit_code=exit_code if exit_code is not None or not is_ended else 0,
        engine_state="exited" if is_ended else "running",
        reason="Completed" if is_ended else None,
    )
    info = {"job_id": name, "job_name": f"name of {name}", "submitted_by": "ann", "target_host": "local"}
    given = {
        "phase": phase,
        "reason": phase.value,
        "queued_at": START,
        "attempts": (attempt,) if is_started else (),
        "finished_at": START + timedelta(seconds=61) if is_ended else None,
        "job_info": info,
    }
    meta = Meta(name=name, generation=1, digest=DIGEST, source=f"api/{name}.yaml")
    return JobStatus(metadata=meta, status=Observed.model_validate(given | observed))


class PlayedOperator:
    """Writes what an operator would, when it is told to."""

    def __init__(self, root: Path) -> None:
        self.volume = SharedVolume(root)
        self.volume.make_folders()
        self.statuses = StatusStore(self.volume)
        self.control = ControlStore(self.volume)

    def tells(self, name: str, phase: Phase = Phase.RUNNING, **observed: Any) -> JobStatus:
        """Write the status of a job."""
        status = job_status(name, phase, **observed)
        self.statuses.write(status, durable=False)
        return status

    def writes(self, relative: str, content: Any) -> None:
        """Write a file of the volume, text as it is and anything else as JSON."""
        data = content if isinstance(content, bytes | str) else json.dumps(content)
        self.volume.write(relative, data.encode() if isinstance(data, str) else data, durable=False)

    def appends(self, relative: str, data: bytes) -> None:
        """Add to a file of the volume."""
        self.volume.append(relative, data)

    def beats(self, *, seconds_ago: float = 0.0, **more: Any) -> None:
        """Give a sign of life."""
        at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        engine = {"reachable": True, "message": "", "version": "20.10"}
        told = {"heartbeat": rfc3339(at), "watchMode": "inotify", "synced": True, "engine": engine, "problems": []}
        self.writes("state/operator.json", told | more)

    def has_hosts(self, **hosts: dict[str, Any]) -> None:
        """Tell of these hosts; what is not said of one is as a healthy host has it."""
        capacity = {"jobs": 4, "cpu": 8 * 10**9, "memory": 16 * 2**30, "gpu": 0}
        healthy = {"online": True, "usable": True, "message": "", "running": 0, "activeJobIds": [], "labels": {}}
        rows = {
            name: healthy | {"lastSeen": rfc3339(datetime.now(UTC)), "clockOffsetSeconds": 0.0} | told
            | {"capacity": capacity | told.get("capacity", {})}
            for name, told in hosts.items()
        }  # fmt: skip
        self.writes("state/hosts.json", rows)

    def grants(self, name: str, wish: Wish) -> None:
        """Do what somebody wishes, as if the engine had obeyed."""
        status = self.statuses.read(name)
        if wish.wish == "stop" and status is not None:
            is_queued = status.status.phase is Phase.QUEUED
            self.tells(name, Phase.CANCELED if is_queued else Phase.STOPPED, last_wish=wish.id)
        if wish.wish == "rerun" and status is not None:
            meta = status.metadata.model_copy(update={"generation": status.metadata.generation + 1})
            observed = status.status.model_copy(
                update={"phase": Phase.QUEUED, "reason": "Accepted", "finished_at": None, "last_wish": wish.id}
            )
            self.statuses.write(JobStatus(metadata=meta, status=observed), durable=False)
        if wish.wish == "delete":
            self.volume.remove(f"specs/api/{name}.yaml")
            self.statuses.remove(name)
        self.control.remove(name)

    @contextlib.contextmanager
    def obeying(self, *, after: float = 0.0) -> Iterator[None]:
        """Grant every wish within milliseconds while this lasts."""
        over = threading.Event()

        def obey() -> None:
            while not over.wait(0.01):
                for name in self.control.names():
                    wish = self.control.read(name)
                    if wish is not None:
                        time.sleep(after)
                        self.grants(name, wish)

        thread = threading.Thread(target=obey)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextlib.contextmanager
def served(root: Path, **settings: Any) -> Iterator[str]:
    """The address of an API that serves this folder until the block ends."""
    app = create_app(Settings.model_validate({"shared_data": root, "poll_seconds": 0.5, **settings}))
    bound = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the API did not start: its log tells why")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)


@dataclass(frozen=True, slots=True)
class Stage:
    """A client of a served API, and the operator that is played to it."""

    client: httpx.Client
    operator: PlayedOperator

    def get(self, path: str, **given: Any) -> httpx.Response:
        """GET a path."""
        return self.client.get(path, **given)

    def post(self, path: str, body: Any = None, **given: Any) -> httpx.Response:
        """POST a JSON body, or none."""
        return self.client.post(path, **given) if body is None else self.client.post(path, json=body, **given)

    def word(self, name: str) -> str:
        """The status word of a job, or the sentence that says there is none."""
        found = self.get(f"/status/{name}").json()
        return str(found.get("status", found.get("detail")))

    def eventually(self, is_true: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait until it is true; fail when it never is."""
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.01)

    def shows(self, name: str, word: str) -> None:
        """Wait until a job is told of with this word."""
        self.eventually(lambda: self.word(name) == word)


@contextlib.contextmanager
def staged(root: Path, **settings: Any) -> Iterator[Stage]:
    """A played operator on this folder, and a client of the API that serves it."""
    operator = PlayedOperator(root)
    with served(root, **settings) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield Stage(client, operator)
