"""Three simulations on a temporary volume: one file dropped into specs/, two asked for over REST.

Starts the operator and the API as `opeva up` does, shows how far each job is, then its results and where they lie.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table

EXAMPLES = Path(__file__).parent
IMAGE = "opeva/citylearn:latest"
DEADLINE_SECONDS = 150
KPIS = {"cost": "cost", "carbon_emissions": "CO2", "ramping": "ramping", "average_daily_peak": "daily peak"}
ENDED = ("finished", "failed", "stopped", "canceled")
INLINE_CONFIG = {
    "experiment": {"name": "demo", "run_name": "q-learning"},
    "simulator": {
        "dataset_path": "citylearn_challenge_2022_phase_1",
        "simulation_end_time_step": 719,
        "episodes": 5,
        "step_delay_seconds": 0.002,
    },
    "algorithm": {"name": "TabularQLearning", "hyperparameters": {"random_seed": 7}},
}
console = Console()


def main() -> int:
    """Run the demo; 0 when all three simulations finished."""
    volume = Path(tempfile.mkdtemp(prefix="opeva-demo-"))
    console.print(f"The shared volume of this demo: [bold]{volume}[/] (yours to look at; remove it when done)\n")
    with services(volume) as address, httpx.Client(base_url=address, timeout=10) as api:
        wait_for_api(api)
        jobs = submit(volume, api)
        outcomes = watch(api, jobs)
        show_results(volume, api, jobs)
    if all(word == "finished" for word in outcomes.values()):
        return 0
    console.print(f"[red]Not all jobs finished; the services' own words are in {volume / 'services.log'}[/]")
    return 1


@contextlib.contextmanager
def services(volume: Path) -> Iterator[str]:
    """The operator and the API on this volume; the API's address."""
    port = free_port()
    environ = {
        **os.environ,
        "OPEVA_SHARED_DATA": str(volume),
        "OPEVA_API_HOST": "127.0.0.1",
        "OPEVA_API_PORT": str(port),
        "OPEVA_DEFAULT_IMAGE": IMAGE,
        "OPEVA_MIN_FREE_BYTES": "256M",
    }
    with (volume / "services.log").open("wb") as log:
        command = [str(Path(sys.executable).parent / "opeva"), "up"]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_api(api: httpx.Client) -> None:
    """Return once the API answers and the operator was heard of."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if api.get("/health").json().get("status") == "ok":
                return
        time.sleep(0.1)
    sys.exit("the services did not start within 30 seconds")


def submit(volume: Path, api: httpx.Client) -> dict[str, str]:
    """Three ways in; how each job came, by job id."""
    for config in (EXAMPLES / "configs").glob("*.yaml"):
        shutil.copy(config, volume / "configs")
    drop(EXAMPLES / "specs" / "minimal.yaml", volume / "specs")
    jobs = {"minimal": "file in specs/"}
    inline = {"config": INLINE_CONFIG, "submitted_by": "demo"}
    jobs[post(api, inline)] = "POST, inline config"
    jobs[post(api, {"config_path": "optimized-rbc-year.yaml", "submitted_by": "demo"})] = "POST, config_path"
    return jobs


def drop(spec: Path, folder: Path) -> None:
    """Put a spec file in place as a whole: under a dot name first, then renamed."""
    temporary = folder / f".{spec.name}"
    shutil.copy(spec, temporary)
    temporary.rename(folder / spec.name)


def post(api: httpx.Client, body: dict[str, Any]) -> str:
    """Ask for a run; the job's id."""
    answer = api.post("/run-simulation", json=body)
    answer.raise_for_status()
    job_id: str = answer.json()["job_id"]
    return job_id


def watch(api: httpx.Client, jobs: dict[str, str]) -> dict[str, str]:
    """Show every job's state and percent until all have ended; the last word on each."""
    end = time.monotonic() + DEADLINE_SECONDS
    rows: dict[str, tuple[str, float]] = {}
    with Live(console=console, refresh_per_second=8) if console.is_terminal else contextlib.nullcontext() as live:
        while time.monotonic() < end:
            before, rows = rows, {job_id: look(api, job_id) for job_id in jobs}
            if live is not None:
                live.update(progress_table(jobs, rows))
            else:
                print_changes(before, rows)
            if all(word in ENDED for word, _ in rows.values()):
                break
            time.sleep(0.25)
    return {job_id: word for job_id, (word, _) in rows.items()}


def print_changes(before: dict[str, tuple[str, float]], rows: dict[str, tuple[str, float]]) -> None:
    """Where nobody sees a live table: a line whenever a job's state changes, or it is a tenth further."""
    for job_id, (word, percent) in rows.items():
        last = before.get(job_id, ("", 0.0))
        if word != last[0] or percent // 10 != last[1] // 10:
            print(f"  {short(job_id):<10} {word:<10} {percent:5.1f} %", flush=True)


def short(job_id: str) -> str:
    """Enough of an id for people."""
    return job_id[:8]


def look(api: httpx.Client, job_id: str) -> tuple[str, float]:
    """Status word and percent of one job."""
    status = api.get(f"/status/{job_id}")
    word = status.json()["status"] if status.is_success else "not seen yet"
    return word, float(api.get(f"/progress/{job_id}").json().get("percent") or 0) if status.is_success else 0.0


def progress_table(jobs: dict[str, str], rows: dict[str, tuple[str, float]]) -> Table:
    """A live line per job."""
    table = Table("job", "came as", "status", "progress", box=None, padding=(0, 1))
    for job_id, came_as in jobs.items():
        word, percent = rows[job_id]
        bar = "━" * round(percent / 5)
        table.add_row(short(job_id), came_as, word, f"{bar:<20} {percent:5.1f} %")
    return table


def show_results(volume: Path, api: httpx.Client, jobs: dict[str, str]) -> None:
    """The KPIs of the whole district (1.0 is what happens without control), and the files of each job."""
    table = Table("job", "experiment and run", *KPIS.values(), title="\nKPIs of the district (1.0: without control)")
    for job_id in jobs:
        kpis = api.get(f"/result/{job_id}").json().get("District", {})
        name = api.get(f"/job-info/{job_id}").json().get("job_name", job_id)
        table.add_row(short(job_id), name, *(f"{kpis[key]:.3f}" if key in kpis else "–" for key in KPIS))
    console.print(table)
    for job_id in jobs:
        console.print(f"\n[bold]{job_id}[/]")
        for file in files_of(volume, job_id):
            console.print(f"  {file}", highlight=False, soft_wrap=True)


def files_of(volume: Path, job_id: str) -> list[Path]:
    """Where everything about a job lies."""
    folder = volume / "jobs" / job_id
    mine = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [volume / "status" / f"{job_id}.json", *mine]


if __name__ == "__main__":
    sys.exit(main())
