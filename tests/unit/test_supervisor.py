"""`opeva up` with real child processes: stand-ins for the two services."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opeva_cli import supervisor
from opeva_cli.errors import CommandError
from opeva_cli.up import services

# Notes its start and its end, and goes on until it is told to end.
GOOD = """
    import os, pathlib, signal, sys, time
    note = pathlib.Path(os.environ["NOTES"], sys.argv[1]).open("a", buffering=1)
    def end(number, frame):
        note.write(f"ended by {number}\\n")
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    note.write(f"started {os.getpid()}\\n")
    while True:
        time.sleep(60)
"""
DEAF = GOOD.replace("sys.exit(0)", "pass")
DYING = GOOD.replace("while True", "sys.exit(3)\n    while True")

# What `opeva up` does, with the programs beside the interpreter found in a folder of our own.
TYPED = """
    import sys
    from opeva_cli import supervisor
    from opeva_cli.main import main
    supervisor.GRACE_SECONDS = 10.0
    supervisor.FIRST_DELAY = 0.2
    sys.executable = sys.argv.pop(1) + "/python"
    main()
"""


class Stage:
    """A folder with stand-ins, and `opeva up` on top of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def stand_in(self, name: str, source: str) -> None:
        self.program(
            name, f"#!{sys.executable}\nimport sys; sys.argv = [{name!r}, {name!r}]\n{textwrap.dedent(source)}"
        )

    def program(self, name: str, text: str) -> None:
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o755)

    def up(self, **environ: str) -> subprocess.Popen[str]:
        paths = os.pathsep.join(path for path in sys.path if path)
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(TYPED), str(self.folder), "up"],
            env=os.environ | {"NOTES": str(self.folder / "notes"), "PYTHONPATH": paths} | environ,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def notes(self, name: str) -> list[str]:
        file = self.folder / "notes" / name
        return file.read_text().splitlines() if file.exists() else []

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[1]) for line in self.notes(name) if line.startswith("started")]

    def wait_for(self, is_true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not is_true():
            assert time.monotonic() < deadline, [self.notes(n) for n in ("opeva-operator", "opeva-api")]
            time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    notes = folder / "notes"
    notes.mkdir()
    for place in (*folder.parents[:2], folder, notes):  # for the child that drops root
        if place.name.startswith(("pytest-", "stage", "notes")):
            place.chmod(0o777)
    stage = Stage(folder)
    yield stage
    for process in stage.running:
        process.kill()
        process.communicate()
    for name in ("opeva-operator", "opeva-api"):
        for pid in filter(is_alive, stage.pids(name)):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def both(stage: Stage) -> Stage:
    stage.stand_in("opeva-operator", GOOD)
    stage.stand_in("opeva-api", GOOD)
    return stage


def started(stage: Stage) -> bool:
    return bool(stage.pids("opeva-operator") and stage.pids("opeva-api"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_both_services_and_is_a_success(both: Stage, number: signal.Signals) -> None:
    up = both.up()
    both.wait_for(lambda: started(both))
    up.send_signal(number)
    assert up.wait(10) == 0
    assert both.notes("opeva-operator")[1:] == both.notes("opeva-api")[1:] == ["ended by 15"]


def test_ctrl_c_on_a_terminal_reaches_a_service_once(both: Stage) -> None:
    up = both.up()
    both.wait_for(lambda: started(both))
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait(10) == 0
    assert both.notes("opeva-operator")[1:] == ["ended by 15"]


def test_a_service_that_dies_is_started_again_and_the_other_is_left_alone(both: Stage) -> None:
    up = both.up()
    both.wait_for(lambda: started(both))
    os.kill(both.pids("opeva-api")[0], signal.SIGKILL)
    both.wait_for(lambda: len(both.pids("opeva-api")) == 2)
    up.terminate()
    _, said = up.communicate(timeout=10)
    assert len(both.pids("opeva-operator")) == 1
    assert "opeva: the API was ended by SIGKILL; starting it again in 0.2 s\n" in said


def test_a_service_that_dies_at_once_is_started_at_growing_distances(both: Stage) -> None:
    both.stand_in("opeva-api", DYING)
    up = both.up()
    both.wait_for(lambda: len(both.pids("opeva-api")) >= 4)
    up.terminate()
    _, said = up.communicate(timeout=10)
    told = [line for line in said.splitlines() if "exited with 3" in line]
    assert told[:3] == [f"opeva: the API exited with 3; starting it again in {s} s" for s in ("0.2", "0.4", "0.8")]
    assert up.returncode == 0


def test_a_program_that_cannot_be_started_stops_nothing_else(both: Stage) -> None:
    (both.folder / "opeva-api").write_text("#!/nonexistent/python\n")
    up = both.up()
    both.wait_for(lambda: both.pids("opeva-operator"))
    time.sleep(0.5)
    up.terminate()
    _, said = up.communicate(timeout=10)
    assert "opeva: the API cannot be started (No such file or directory); starting it again in 0.2 s\n" in said
    assert both.notes("opeva-operator")[1:] == ["ended by 15"]


def test_a_service_that_will_not_end_is_killed_after_the_grace(both: Stage) -> None:
    both.stand_in("opeva-operator", DEAF)
    source = (
        "import os, sys; from opeva_cli.supervisor import Service, supervise; "
        "sys.exit(supervise([Service(name='it', command=(sys.argv[1],))], os.environ, 0.5))"
    )
    environ = os.environ | {"NOTES": str(both.folder / "notes"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-c", source, str(both.folder / "opeva-operator")],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    both.running.append(process)
    both.wait_for(lambda: both.pids("opeva-operator"))
    process.terminate()
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (1, "opeva: it did not end in time and is killed\n")
    assert not is_alive(both.pids("opeva-operator")[0])


def test_a_second_signal_waits_no_longer(both: Stage) -> None:
    both.stand_in("opeva-operator", DEAF)
    up = both.up()
    both.wait_for(lambda: started(both))
    up.terminate()
    both.wait_for(lambda: "ended by 15" in both.notes("opeva-operator"))
    up.terminate()
    assert up.wait(5) == 1


def test_killed_outright_it_leaves_no_service_behind(both: Stage) -> None:
    up = both.up()
    both.wait_for(lambda: started(both))
    up.kill()
    both.wait_for(lambda: both.notes("opeva-operator")[1:] == both.notes("opeva-api")[1:] == ["ended by 15"])


@pytest.mark.parametrize("uid", ["", "10001"], ids=["not set", "set"])
def test_the_api_drops_root_only_when_told_to(stage: Stage, uid: str) -> None:
    for name in ("opeva-operator", "opeva-api"):
        stage.program(
            name, f'#!/bin/sh\necho "started $$ $(id -u) $(id -g) $(id -G)" >"$NOTES/{name}"\nexec sleep 60\n'
        )
    stage.up(OPEVA_API_UID=uid)
    stage.wait_for(lambda: started(stage))
    own = subprocess.run(["sh", "-c", "echo $(id -u) $(id -g) $(id -G)"], capture_output=True, text=True).stdout.strip()
    is_dropped = uid and os.geteuid() == 0  # nobody else could, so that the variable then means nothing
    assert stage.notes("opeva-api")[0].split(maxsplit=2)[2] == (f"{uid} {uid} {uid}" if is_dropped else own)
    assert stage.notes("opeva-operator")[0].split(maxsplit=2)[2] == own


def test_a_setting_that_cannot_be_used_starts_nothing(both: Stage) -> None:
    up = both.up(OPEVA_API_PORT="eighty")
    _, said = up.communicate(timeout=10)
    assert up.returncode == 1
    assert said.startswith("opeva: cannot use OPEVA_API_PORT='eighty': ")
    assert not started(both)


def test_a_program_that_is_nowhere_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(CommandError, match="cannot find the program 'opeva-operator': install the package again"):
        services({"PATH": str(tmp_path)})


@pytest.mark.parametrize("uid", ["0", "-1", "opeva", "99999999999"])
def test_an_api_user_that_is_none_is_refused(both: Stage, monkeypatch: pytest.MonkeyPatch, uid: str) -> None:
    monkeypatch.setattr(sys, "executable", str(both.folder / "python"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(CommandError, match=f"cannot use OPEVA_API_UID='{uid}'"):
        services({"OPEVA_API_UID": uid})


def test_waiting_doubles_up_to_a_limit() -> None:
    assert [supervisor.delay(n) for n in (0, 1, 2, 5, 6, 10_000)] == [1.0, 2.0, 4.0, 30.0, 30.0, 30.0]
