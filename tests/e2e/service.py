"""The whole service: a site with its operator, and the API beside it, each a process of its own."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.e2e.harness import Site, eventually, site_on

SIMULATOR = "opeva/citylearn:latest"
ENDED = ("finished", "failed", "stopped", "canceled")
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")


def config(name: str, *, steps: int = 168, delay: float = 0.0) -> dict[str, Any]:
    """A short experiment of the real simulator: a week of five homes, unless told otherwise."""
    return {
        "experiment": {"name": name, "run_name": f"{name}-run"},
        "simulator": {
            "dataset_path": "citylearn_challenge_2022_phase_1",
            "simulation_end_time_step": steps,
            "step_delay_seconds": delay,
        },
        "algorithm": {"name": "BasicRBC"},
    }


@dataclass(frozen=True, slots=True)
class Service:
    """The site, and a client of its API."""

    site: Site
    client: httpx.Client

    def told(self, path: str) -> Any:
        """The JSON at a path."""
        answer = self.client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def submit(self, **body: Any) -> str:
        """Ask for a run; the job's id."""
        answer = self.client.post("/run-simulation", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "queued"
        return str(answer.json()["job_id"])

    def word(self, job: str) -> str:
        """The job's status word, or the sentence that says there is none."""
        found = self.client.get(f"/status/{job}").json()
        return str(found.get("status", found.get("detail")))

    def until(self, job: str, *words: str, within: float = 90.0) -> str:
        """Wait until the job's status is one of these words; that word."""
        eventually(lambda: self.word(job) in words, f"{job} is {words}", lambda: self.site.explain(job), within)
        return self.word(job)

    def until_ended(self, job: str, within: float = 90.0) -> str:
        """Wait until the job has ended; how it did."""
        return self.until(job, *ENDED, within=within)

    def percent(self, job: str) -> float:
        """How far the job is."""
        return float(self.told(f"/progress/{job}").get("percent") or 0)

    def log(self, job: str) -> str:
        """The job's log."""
        return self.client.get(f"/logs/{job}").text


@contextmanager
def service_on(root: Path, network: str, **settings: str) -> Iterator[Service]:
    """Operator and API on a volume of their own, for real simulations; cleaned away at the end."""
    with site_on(root, network, OPEVA_DEFAULT_IMAGE=SIMULATOR, **settings) as site, _api_of(site) as client:
        yield Service(site, client)


@contextmanager
def _api_of(site: Site) -> Iterator[httpx.Client]:
    log = site.root / "api.log"
    environ = {"PATH": "/usr/bin:/bin", **site.settings, "OPEVA_API_HOST": "127.0.0.1", "OPEVA_API_PORT": "0"}
    # Without a way to the engine, as the API is meant to run.
    environ |= {"DOCKER_HOST": "unix:///nowhere"}
    with log.open("wb") as file:
        program = Path(sys.executable).with_name("opeva-api")
        process = subprocess.Popen([program], env=environ, stdout=file, stderr=file)
    try:
        eventually(lambda: LISTENING.search(log.read_text()), "the API listens", log.read_text, 60)
        found = LISTENING.search(log.read_text())
        assert found is not None
        with httpx.Client(base_url=found[1], trust_env=False, timeout=30) as client:
            eventually(lambda: _is_well(client), "the API and the operator are well", log.read_text, 60)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _is_well(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/health").json()["status"] == "ok")
    except httpx.TransportError:
        return False
