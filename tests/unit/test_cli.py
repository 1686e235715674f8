"""The `opeva` command as it is typed, against a stub of the API that answers over real HTTP."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from opeva_cli import show
from opeva_cli.main import main

SPEC = """apiVersion: opeva.io/v1
kind: SimulationJob
metadata:
  name: night-run
spec:
  configPath: train.yaml
"""


@dataclass
class Stub:
    """A server that answers what it was told to, and remembers what it was asked."""

    answers: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, list[str]], Any]] = field(default_factory=list)
    address: str = ""

    def tell(self, request: str, answer: object, code: int = 200) -> None:
        self.answers[request] = (code, "application/json", json.dumps(answer).encode())

    def tell_text(self, request: str, text: str) -> None:
        self.answers[request] = (200, "text/plain; charset=utf-8", text.encode())


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            request = f"{self.command} {parts.path}"
            stub.asked.append((request, parse_qs(parts.query), body))
            missing = (404, "application/json", b'{"detail": "Job not found"}')
            code, kind, content = stub.answers.get(request, missing)
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield stub
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Typed:
    code: int
    out: str
    err: str


@pytest.fixture
def opeva(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator["type[Typed] | Any"]:
    monkeypatch.setenv("OPEVA_SERVER", stub.address)

    def typed(*words: str | Path) -> Typed:
        monkeypatch.setattr("sys.argv", ["opeva", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Typed(int(ended.value.code or 0), said.out, said.err)

    yield typed


def test_bare_it_prints_help(opeva: Any) -> None:
    found = opeva()
    assert found.code == 0
    assert "Usage: opeva" in found.out
    assert all(
        word in found.out for word in ("validate", "run", "ps", "status", "logs", "stop", "delete", "up", "explain")
    )


def test_a_good_file_is_valid(opeva: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(SPEC)
    assert opeva("validate", file) == Typed(0, f"{file}: ok\n", "")


def test_a_bad_file_is_told_with_line_column_and_field(opeva: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(SPEC)
    bad.write_text(SPEC.replace("configPath", "configpath"))
    found = opeva("validate", good, bad)
    assert found.code == 1
    assert found.out.splitlines()[:2] == [
        f"{good}: ok",
        f"{bad}:6:3: spec.configpath: is not a field of spec; did you mean 'configPath'?",
    ]


def test_a_file_that_is_not_there_is_one_sentence(opeva: Any, tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    assert opeva("validate", file) == Typed(1, "", f"opeva: cannot read {file}: No such file or directory\n")


def test_a_file_larger_than_a_spec_may_be_is_not_read_whole(opeva: Any, tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    with file.open("wb") as huge:
        huge.truncate(10 * 2**30)
    found = opeva("validate", file)
    assert found.code == 1
    assert "a spec may have 262144" in found.out


def test_run_submits_a_config_path(opeva: Any, stub: Stub) -> None:
    stub.tell("POST /run-simulation", {"job_id": "abc", "status": "queued"})
    found = opeva("run", "--config-path", "train.yaml", "--name", "night run", "--submitted-by", "ana")
    assert found == Typed(0, "abc queued\n", "")
    assert stub.asked == [
        ("POST /run-simulation", {}, {"config_path": "train.yaml", "job_name": "night run", "submitted_by": "ana"})
    ]


def test_run_sends_a_config_file_along(opeva: Any, stub: Stub, tmp_path: Path) -> None:
    stub.tell("POST /run-simulation", {"job_id": "abc", "status": "queued"})
    config = tmp_path / "c.yaml"
    config.write_text("experiment: {name: a}\nrate: 1.5e-3\n")
    assert opeva("run", "--config", config).code == 0
    assert stub.asked[0][2] == {"config": {"experiment": {"name": "a"}, "rate": 0.0015}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("a: 1\nb: no\n", ":2:4: 'no' means different things", id="a word readers differ on"),
        pytest.param("- a\n", "it must hold one mapping", id="a list"),
        pytest.param("a: 1\n---\nb: 1\n", "it must hold one mapping", id="two documents"),
        pytest.param("", "it must hold one mapping", id="empty"),
        pytest.param("a: [\n", ":2:1: cannot read this as YAML", id="broken"),
    ],
)
def test_run_refuses_a_config_it_cannot_send_as_it_is(
    opeva: Any, stub: Stub, tmp_path: Path, text: str, told: str
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text)
    found = opeva("run", "--config", config)
    assert (found.code, found.out, stub.asked) == (1, "", [])
    assert told in found.err


def test_run_submits_each_job_of_a_spec_file(opeva: Any, stub: Stub, tmp_path: Path) -> None:
    stub.tell("POST /run-simulation", {"job_id": "abc", "status": "queued"})
    file = tmp_path / "two.yaml"
    file.write_text(SPEC + "  submittedBy: ana\n---\n" + SPEC.replace("night", "day"))
    assert opeva("run", file).out == "abc queued\nabc queued\n"
    assert [body for _, _, body in stub.asked] == [
        {"job_name": "night-run", "config_path": "train.yaml", "submitted_by": "ana"},
        {"job_name": "day-run", "config_path": "train.yaml"},
    ]


def test_run_does_not_lose_what_rest_cannot_say(opeva: Any, stub: Stub, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(SPEC + "  env: {A: b}\n  network: lab\n")
    found = opeva("run", file)
    assert (found.code, stub.asked) == (1, [])
    assert "no word for env, network: copy the file into specs/" in found.err


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["--config-path", "a", "--config", "b"], id="two things"),
        pytest.param(["f", "--config-path", "a"], id="a file and a path"),
    ],
)
def test_run_wants_exactly_one_thing_to_run(opeva: Any, stub: Stub, words: list[str]) -> None:
    found = opeva("run", *words)
    assert (found.code, stub.asked) == (1, [])
    assert found.err == "opeva: cannot tell what to run: give one of FILE, --config-path and --config\n"


def test_ps_is_a_table_in_the_servers_order(opeva: Any, stub: Stub) -> None:
    info = {"job_name": "night run", "submitted_by": "ana"}
    stub.tell(
        "GET /jobs",
        [
            {"job_id": "b", "status": "running", "reason": "Running", "job_info": info, "queued_at": 0,
             "run_duration_seconds": 61.4},
            {"job_id": "a" * 63, "status": "finished", "job_info": {}, "queued_at": None},
        ],
    )  # fmt: skip
    lines = opeva("ps", "--limit", "7", "--status", "running").out.splitlines()
    assert lines[0].split() == ["JOB", "STATUS", "REASON", "NAME", "BY", "QUEUED", "RAN"]
    assert lines[1].split() == "b running Running night run ana 1970-01-01 00:00:00Z 1 min 1 s".split()
    assert lines[2].split() == ["a" * 63, "finished"]
    assert stub.asked == [("GET /jobs", {"limit": ["7"], "status": ["running"]}, None)]


def test_ps_without_jobs_says_so(opeva: Any, stub: Stub) -> None:
    stub.tell("GET /jobs", [])
    assert opeva("ps") == Typed(0, "no jobs\n", "")


def test_ps_as_json_is_what_the_server_told(opeva: Any, stub: Stub) -> None:
    stub.tell("GET /jobs", [{"job_id": "a", "new": [1]}])
    assert json.loads(opeva("ps", "--json").out) == [{"job_id": "a", "new": [1]}]


def test_what_a_job_wrote_steers_no_terminal(opeva: Any, stub: Stub) -> None:
    stub.tell("GET /jobs", [{"job_id": "a", "status": "x", "job_info": {"job_name": "\x1b[2J\n[bold]b\u202ec"}}])
    assert opeva("ps").out.splitlines()[1].split() == ["a", "x", "?[2J?[bold]b?c"]


def test_status_is_a_line_per_fact(opeva: Any, stub: Stub) -> None:
    record = {"job_id": "a", "status": "failed", "exit_code": 3, "error": None, "finished_at": 60, "details": {"x": 1}}
    stub.tell("GET /status/a", record)
    assert opeva("status", "a").out == "job_id: a\nstatus: failed\nexit_code: 3\nfinished_at: 1970-01-01 00:01:00Z\n"
    assert json.loads(opeva("status", "a", "--json").out) == record


def test_logs_are_printed_as_they_are(opeva: Any, stub: Stub) -> None:
    stub.tell_text("GET /logs/a", "zwölf\nlines\n")
    assert opeva("logs", "a", "--tail", "2").out == "zwölf\nlines\n"
    assert opeva("logs", "a", "--follow").out == "zwölf\nlines\n"
    assert [query for _, query, _ in stub.asked] == [{"tail": ["2"]}, {"follow": ["true"]}]


def test_stop_and_delete_print_the_servers_message(opeva: Any, stub: Stub) -> None:
    stub.tell("POST /stop/a", {"message": "stopped"})
    stub.tell("DELETE /job/a", {"message": "deleted"})
    assert opeva("stop", "a") == Typed(0, "stopped\n", "")
    assert opeva("delete", "a") == Typed(0, "deleted\n", "")


BLOCKER = {"kind": "CpuShort", "message": "needs 3 CPUs, and 1 of 4 are free", "unblocks": "a job ends", "details": {}}
TOLD = {"job_id": "a", "status": "queued", "message": "Needs 3 CPUs.", "position": 2, "host": "local"}
LINES = """a queued (place 2 in the line of local): Needs 3 CPUs.
  CpuShort: needs 3 CPUs, and 1 of 4 are free; until a job ends
"""


def test_explain_says_all_that_is_in_a_jobs_way(opeva: Any, stub: Stub) -> None:
    stub.tell("GET /explain/a", TOLD | {"blockers": [BLOCKER]})
    assert opeva("explain", "a") == Typed(0, LINES, "")
    assert json.loads(opeva("explain", "a", "--json").out) == TOLD | {"blockers": [BLOCKER]}


def test_explain_asks_for_each_job_of_a_file_as_it_is_written(opeva: Any, stub: Stub, tmp_path: Path) -> None:
    stub.tell("POST /specs/explain", TOLD | {"blockers": [], "position": None, "note": "the operator is away"})
    file = tmp_path / "two.yaml"
    file.write_text(SPEC + "  priority: 3\n---\n" + SPEC.replace("night", "day"))
    assert opeva("explain", file).out == 2 * "a queued: Needs 3 CPUs.\n  the operator is away\n"
    job = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": "night-run"}}
    assert stub.asked[0] == ("POST /specs/explain", {}, job | {"spec": {"configPath": "train.yaml", "priority": 3}})
    assert len(stub.asked) == 2


def test_explain_refuses_a_file_that_is_no_spec(opeva: Any, stub: Stub, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(SPEC.replace("configPath", "configpath"))
    found = opeva("explain", file)
    assert (found.code, stub.asked) == (1, [])
    assert "did you mean 'configPath'?" in found.err
    assert "No such file" in opeva("explain", "none.yaml").err


def test_run_says_over_rest_what_the_spec_says(opeva: Any, stub: Stub, tmp_path: Path) -> None:
    stub.tell("POST /run-simulation", {"job_id": "abc", "status": "queued"})
    file = tmp_path / "a.yaml"
    file.write_text(SPEC + "  priority: 3\n  resources: {cpu: 2, gpu: 1}\n  retryOn: [1]\n  image: sim:v1\n")
    assert opeva("run", file).code == 0
    assert stub.asked[0][2] == {
        "job_name": "night-run", "config_path": "train.yaml", "priority": 3, "resources": {"cpu": "2", "gpu": 1},
        "retry_on": [1], "image": "sim:v1",
    }  # fmt: skip


@pytest.mark.parametrize("command", ["status", "logs", "stop", "delete", "explain"])
def test_an_unknown_job_is_one_sentence(opeva: Any, command: str) -> None:
    assert opeva(command, "nobody") == Typed(1, "", "opeva: Job not found\n")


def test_an_id_cannot_lead_to_another_endpoint(opeva: Any, stub: Stub) -> None:
    assert opeva("status", "../jobs?x=1").code == 1
    assert stub.asked == [("GET /status/..%2Fjobs%3Fx%3D1", {}, None)]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param((500, "text/html", b"<h1>"), "the server answered 500 Internal Server Error", id="no detail"),
        pytest.param((409, "application/json", b'{"detail": "still runs"}'), "still runs", id="detail"),
        pytest.param((200, "text/html", b"<h1>"), "it is not JSON", id="a page"),
        pytest.param((200, "application/json", b"[]"), "it is no mapping", id="another shape"),
    ],
)
def test_a_bad_answer_is_one_sentence(opeva: Any, stub: Stub, answer: tuple[int, str, bytes], told: str) -> None:
    stub.answers["GET /status/a"] = answer
    found = opeva("status", "a")
    assert (found.code, found.out) == (1, "")
    assert told in found.err
    assert found.err.count("\n") == 1


def test_no_server_says_how_to_start_it(opeva: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        found = opeva("ps", "--server", address)
    assert found.code == 1
    assert found.err == (
        f"opeva: cannot reach {address}: start the service with 'opeva up', or name its address with --server\n"
    )


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://x", "http://a:b", ""])
def test_an_address_that_is_none_says_how_to_write_it(opeva: Any, address: str) -> None:
    found = opeva("ps", "--server", address)
    assert found.code == 1
    assert "write it like http://127.0.0.1:8000" in found.err


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (True, ""), (4.21, "4.2 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), ("x", "")],
)
def test_a_duration_is_said_as_a_person_does(seconds: object, shown: str) -> None:
    assert show.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "1970-01-01 00:00:00Z"), ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"), (1e300, "1e+300")],
)
def test_a_moment_is_said_in_utc(value: object, shown: str) -> None:
    assert show.moment(value) == shown
