"""Three more Docker engines, reached by a socket, over TLS and over ssh: jobs run where they are pinned, or wait."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.farm import Farm, farm_of, hosts_file
from tests.e2e.harness import Site, consistently
from tests.e2e.jobs import SLEEP

pytestmark = pytest.mark.docker

ELSEWHERE = ("cellar", "tower", "attic")


@pytest.fixture(scope="module")
def farm(busybox: str) -> Iterator[Farm]:
    with farm_of(busybox) as made:
        yield made


class Wide(Site):
    """A site with a hosts file."""

    def name_hosts(self, *entries: dict[str, Any]) -> None:
        """What the operator reads at its next start."""
        self.settings["OPEVA_HOSTS"] = hosts_file(self.root.parent / "hosts.yaml", *entries)

    def hosts(self) -> dict[str, Any]:
        """What `state/hosts.json` tells."""
        try:
            return dict(json.loads((self.root / "state/hosts.json").read_text()))
        except FileNotFoundError:
            return {}

    def until_usable(self, *names: str) -> None:
        """Wait until jobs may run there."""
        self.until_true(lambda: all(self.hosts().get(name, {}).get("usable") for name in names), f"{names} are usable")

    def here(self, farm: Farm, name: str) -> list[str]:
        """The hosts that hold a container of that job."""
        listing = ["ps", "--all", "--quiet", "--filter", f"label=opeva.io/job={name}"]
        listing += ["--filter", f"label=opeva.io/instance={self.instance}"]
        found = [host for host, engine in farm.engines.items() if _docker(engine.host, *listing)]
        return [*(["local"] if self.containers(name) else []), *found]


def _docker(host: str, *arguments: str) -> str:
    done = subprocess.run(["docker", "--host", host, *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def wide(tmp_path: Path, network: str, farm: Farm) -> Iterator[Wide]:
    """A site on the machine's own engine and on those of the farm."""
    site = Wide(tmp_path / "volume", network, OPEVA_ENGINE_TIMEOUT_SECONDS="5")
    site.name_hosts(*farm.entries(site.root).values())
    try:
        site.start()
        yield site
    finally:
        site.close()


def test_jobs_run_where_they_are_pinned_and_only_there(wide: Wide, farm: Farm) -> None:
    wide.until_usable("local", *ELSEWHERE)
    for host in ELSEWHERE:
        wide.run(f"at-{host}", f"echo hello from {host}; sleep 4; exit 3", targetHost=host)
    wide.run("at-local", "echo hello from local; sleep 4; exit 3")
    for host in (*ELSEWHERE, "local"):
        wide.until(f"at-{host}", "Running")
        assert wide.here(farm, f"at-{host}") == [host]
        wide.until_true(lambda host=host: "hello" in _log(wide, host), "its log is written along")  # type: ignore[misc]
        assert wide.status(f"at-{host}").phase == "Running"  # type: ignore[union-attr]
    for host in (*ELSEWHERE, "local"):
        told = wide.until(f"at-{host}", "Failed", "ExitNonZero")
        assert (told.attempt["host"], told.attempt["exitCode"]) == (host, 3)
        assert told.attempt["evidence"] == [f"hello from {host}"]
        assert _log(wide, host) == f"hello from {host}\n"
        assert wide.runs(f"at-{host}") == 1
        wide.until_true(lambda host=host: wide.here(farm, f"at-{host}") == [], "it is removed")  # type: ignore[misc]


def _log(site: Site, host: str) -> str:
    file = site.root / f"jobs/at-{host}/logs/container.log"
    return file.read_text() if file.exists() else ""


def test_a_stop_reaches_every_host(wide: Wide, farm: Farm) -> None:
    for host in ELSEWHERE:
        wide.run(f"stop-{host}", SLEEP, targetHost=host)
    for host in ELSEWHERE:
        wide.until(f"stop-{host}", "Running")
        wide.wish(f"stop-{host}", "stop")
    for host in ELSEWHERE:
        wide.until(f"stop-{host}", "Stopped", "StoppedByUser")
    wide.until_true(lambda: not any(wide.here(farm, f"stop-{host}") for host in ELSEWHERE), "they are removed")


WAIT = "while [ ! -e /data/ledger/end ]; do sleep 0.2; done; exit 7"


def running_everywhere(wide: Wide) -> None:
    """A job on each host, and on one more of them than it has workers."""
    more = {f"more-{number}": "attic" for number in range(10)}
    for name, host in ({f"long-{host}": host for host in ELSEWHERE} | more).items():
        wide.run(name, WAIT, targetHost=host, resources={"cpu": "10m", "memory": "10Mi"})
    for name in [*(f"long-{host}" for host in ELSEWHERE), *more]:
        wide.until(name, "Running")


def others_go_on(wide: Wide) -> None:
    """Hold that jobs of the other hosts come and go as ever."""
    began = time.monotonic()
    for number in range(8):
        wide.run(f"quick-{number}", "true", targetHost="cellar")
        wide.run(f"mine-{number}", "true")
    for number in range(8):
        wide.until(f"quick-{number}", "Finished")
        wide.until(f"mine-{number}", "Finished")
    assert time.monotonic() - began < 20


def test_one_frozen_and_one_killed_change_no_outcome_and_keep_no_other_waiting(wide: Wide, farm: Farm) -> None:
    entries = farm.entries(wide.root)
    wide.name_hosts(*(entry | {"capacity": {"jobs": 20}} for entry in entries.values()))
    wide.restart()
    running_everywhere(wide)
    try:
        farm.engines["attic"].send(signal.SIGSTOP)
        farm.engines["tower"].stop(signal.SIGKILL)
        others_go_on(wide)
        wide.run("waits", "true", targetHost="tower")
        wide.until("waits", "Queued", "EngineUnreachable")
        wide.until_true(lambda: not wide.hosts()["attic"]["online"] and not wide.hosts()["tower"]["online"], "seen")
        consistently(lambda: _age(wide) < 6, "the heartbeat is fresh", 8, wide.explain)
        assert phases(wide) == ["Running"] * 3
        wide.restart()  # is synced in time, with two hosts away
        assert phases(wide) == ["Running"] * 3
    finally:
        farm.engines["attic"].send(signal.SIGCONT)
        farm.engines["tower"].start()
    (wide.root / "ledger/end").touch()
    for host in ("cellar", "attic"):
        told = wide.until(f"long-{host}", "Failed", "ExitNonZero", within=60)
        assert told.attempt["exitCode"] == 7
    assert wide.until("long-tower", "Failed", within=60).reason == "EngineRestart"
    wide.until("waits", "Finished", within=60)
    assert [wide.runs(f"long-{host}") for host in ELSEWHERE] == [1, 1, 1]


def phases(wide: Wide) -> list[str]:
    found = [wide.status(f"long-{host}") for host in ELSEWHERE]
    return [told.phase for told in found if told is not None]


def _age(site: Site) -> float:
    heard = datetime.fromisoformat(site.operator()["heartbeat"])
    return (datetime.now(UTC) - heard).total_seconds()


def test_a_host_with_another_path_or_another_volume_is_unusable_and_one_that_nobody_knows_unknown(
    wide: Wide, farm: Farm, tmp_path: Path
) -> None:
    other = tmp_path / "other/state"
    other.mkdir(parents=True)
    (other / "instance.json").write_text('{"id": "11111111-somebody-else"}')
    entries = farm.entries(wide.root)
    entries["cellar"]["sharedData"] = str(tmp_path / "nowhere")
    entries["tower"]["sharedData"] = str(tmp_path / "other")
    wide.name_hosts(*entries.values())
    wide.restart()
    wide.run("nowhere", targetHost="cellar")
    wide.run("others", targetHost="tower")
    wide.run("typo", targetHost="atic")
    wide.until("nowhere", "Queued", "HostUnusable")
    wide.until_true(lambda: "is no state/instance.json in" in message(wide, "nowhere"), "it is told what is missing")
    wide.until_true(lambda: "11111111-somebody-else" in message(wide, "others"), "it is told whose volume it is")
    assert "did you mean 'attic'?" in wide.until("typo", "Queued", "HostUnknown").message
    wide.until_true(lambda: wide.hosts()["cellar"]["online"] and not wide.hosts()["cellar"]["usable"], "both are told")
    assert not (tmp_path / "nowhere").exists()
    wide.name_hosts(*farm.entries(wide.root).values())
    wide.restart()
    wide.until("nowhere", "Finished")
    wide.until("others", "Finished")
    assert [wide.runs(name) for name in ("nowhere", "others", "typo")] == [1, 1, 0]


def message(site: Site, name: str) -> str:
    told = site.status(name)
    return told.message if told is not None else ""


def test_a_host_gives_what_the_file_grants(wide: Wide, farm: Farm) -> None:
    entries = farm.entries(wide.root)
    entries["attic"] |= {"capacity": {"cpu": "500m", "memory": "200Mi", "jobs": 1}, "labels": {"room": "roof"}}
    wide.name_hosts(*entries.values())
    wide.restart()
    wide.until_usable("attic")
    told = wide.hosts()["attic"]
    assert told["capacity"] == {"jobs": 1, "cpu": 500_000_000, "memory": 200 * 2**20, "gpu": 0}
    assert told["labels"] == {"room": "roof"}
    assert abs(told["clockOffsetSeconds"]) < 5
    wide.run("large", SLEEP, targetHost="attic", resources={"cpu": 1})
    wide.until("large", "Queued", "TooLarge")
    wide.run("first", SLEEP, targetHost="attic", resources={"cpu": "100m", "memory": "50Mi"})
    wide.until("first", "Running")
    wide.run("second", targetHost="attic", resources={"cpu": "100m", "memory": "50Mi"})
    wide.until("second", "Queued", "AtCapacity")
    wide.wish("first", "stop")
    wide.until("second", "Finished")


def test_an_operator_that_dies_leaves_no_ssh_connection_behind(wide: Wide, farm: Farm) -> None:
    wide.until_usable("attic")
    mark = f":{farm.socket('attic')}"
    assert len(_processes(mark)) == 1
    wide.kill()
    wide.until_true(lambda: _processes(mark) == [], "no process of the tunnel is left", within=5)
    wide.start()
    wide.until_usable("attic")
    began = time.monotonic()
    wide.stop()
    assert time.monotonic() - began < 12
    wide.until_true(lambda: _processes(mark) == [], "no process of the tunnel is left", within=5)


def _processes(mark: str) -> list[int]:
    """Those of ssh that lead to that socket."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0] == "ssh" and any(word.endswith(mark) for word in words):
            found.append(int(file.parent.name))
    return found


def test_a_tunnel_that_breaks_is_opened_anew(wide: Wide, farm: Farm) -> None:
    wide.run("through", "while [ ! -e /data/ledger/end ]; do sleep 0.2; done; echo after", targetHost="attic")
    wide.until("through", "Running")
    farm.ssh_door.stop()
    wide.until_true(lambda: "by ssh: " in wide.hosts()["attic"]["message"], "it is away, and ssh says why")
    (wide.root / "ledger/end").touch()
    wide.stays("through", 2, phase="Running")
    farm.ssh_door.start()
    told = wide.until("through", "Finished", within=60)
    assert told.attempt["exitCode"] == 0
    assert (wide.root / "jobs/through/logs/container.log").read_text() == "after\n"


BOOTED = """
import functools, os
from opeva_operator import local, main
from opeva_specs.settings import load_settings
main.Operator = functools.partial(local.Operator, boot_id=lambda: os.environ["BOOT"])
raise SystemExit(main.run(load_settings()))
"""


class Booted(Site):
    """A site whose operator believes in the boot id that it is told."""

    program = (sys.executable, "-c", BOOTED)


def test_runs_that_were_killed_by_a_reboot_of_their_host_are_told_so(tmp_path: Path, network: str) -> None:
    site = Booted(tmp_path / "volume", network, BOOT="one")
    try:
        site.start()
        site.run("again", SLEEP, backoffLimit=1)
        for number in range(3):
            site.run(f"once-{number}", SLEEP)
        for name in (names := ["again", *(f"once-{number}" for number in range(3))]):
            site.until(name, "Running")
        site.kill()
        for name in names:
            site.client.kill(site.container(name))
        site.start(BOOT="two")
        for name in names[1:]:
            site.until(name, "Failed", "HostReboot")
        told = site.until("again", "Running", within=60)
        assert [attempt.get("reason") for attempt in told.attempts] == ["HostReboot", None]
        site.client.kill(site.container("again"))
        told = site.until("again", "Queued", "BackOff")
        assert told.attempt["reason"] == "ExitNonZero"  # that one was killed without a reboot
    finally:
        site.close()
