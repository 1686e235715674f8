"""What clients rely on when they read logs: one stable stream of bytes, never empty, never endless unless asked."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from opeva_api.testing import Stage, staged
from opeva_specs.status import Phase

OWN, CAPTURED = "jobs/j/logs/j.log", "jobs/j/logs/container.log"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        found.operator.tells("j", Phase.RUNNING)
        found.shows("j", "running")
        yield found


def ends(stage: Stage, phase: Phase = Phase.FINISHED) -> None:
    stage.operator.tells("j", phase)
    stage.shows("j", phase.word)


def source(answer: httpx.Response) -> str:
    return str(answer.headers["X-Opeva-Log-Source"])


# -- which log -------------------------------------------------------------------------------------------------------


def test_the_jobs_own_log_comes_before_what_it_printed(stage: Stage) -> None:
    stage.operator.writes(CAPTURED, "printed\n")
    stage.operator.writes(OWN, "own\n")
    answer = stage.get("/logs/j")
    assert (answer.text, source(answer)) == ("own\n", "logs/j.log")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert stage.get("/logs/j?source=captured").text == "printed\n"


@pytest.mark.parametrize("name", ["run-1", "runtime"])
def test_older_simulators_name_their_log_otherwise(stage: Stage, name: str) -> None:
    stage.operator.writes("jobs/j/job_info.json", {"mlflow_run_id": "run-1"})
    stage.eventually(lambda: "run-1" in stage.get("/jobs").text)
    stage.operator.writes(OWN, "")
    stage.operator.writes(f"jobs/j/logs/{name}.log", "older\n")
    assert stage.get("/logs/j").text == "older\n"


def test_a_log_once_shown_stays_the_one_while_the_attempt_lasts(stage: Stage) -> None:
    stage.operator.writes(OWN, "")
    stage.operator.writes(CAPTURED, "printed\n")
    assert stage.get("/logs/j").text == "printed\n"
    stage.operator.writes(OWN, "own\n")
    assert source(stage.get("/logs/j")) == "logs/container.log"
    ends(stage)
    assert stage.get("/logs/j?offset=3").text == "nted\n"
    assert stage.get("/logs/j").text == "own\n"


# -- when there is none ----------------------------------------------------------------------------------------------


def test_a_job_without_a_log_says_its_state_and_why(stage: Stage) -> None:
    stage.operator.tells("j", Phase.QUEUED, reason="ConfigMissing", message="there is no configs/x.yaml")
    stage.shows("j", "queued")
    told = stage.get("/logs/j")
    assert (told.status_code, source(told)) == (200, "none")
    assert told.text == "No log yet: job j is queued (ConfigMissing): there is no configs/x.yaml\n"
    missing = stage.get("/file-logs/j")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Log file not found"})


def test_a_dead_job_without_a_log_says_why(stage: Stage) -> None:
    stage.operator.writes(OWN, "")
    ends(stage, Phase.FAILED)
    assert stage.get("/logs/j").text == "No log: job j is failed (Failed)\n"


# -- which part ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "tail", "expected"),
    [
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\nb\n", 9, "a\nb\n"),
        ("\n\n\n", 1, "\n"),
        ("x" * 200_000 + "\nlast\n", 1, "last\n"),
        ("first\n" + "y" * 200_000 + "\n", 1, "y" * 200_000 + "\n"),
    ],
)
def test_a_tail_is_whole_lines_from_the_end(stage: Stage, content: str, tail: int, expected: str) -> None:
    stage.operator.writes(OWN, content)
    assert stage.get(f"/logs/j?tail={tail}").text == expected


def test_a_tail_of_one_endless_line_is_bounded_and_cuts_no_character(stage: Stage) -> None:
    stage.operator.writes(OWN, "é" * 5_000_001)
    text = stage.get("/logs/j?tail=1").text
    assert len(text.encode()) <= 8 * 2**20
    assert set(text) == {"é"}


def test_offsets_go_on_where_the_last_answer_ended(stage: Stage) -> None:
    seen = b""
    for line in ("eins\n", "zwölf\n", "drei\n"):
        stage.operator.appends(OWN, line.encode())
        answer = stage.get(f"/logs/j?offset={len(seen)}")
        seen += answer.content
        assert answer.headers["X-Opeva-Log-Next-Offset"] == str(len(seen))
    assert seen.decode() == "eins\nzwölf\ndrei\n"
    assert stage.get(f"/logs/j?offset={len(seen)}").content == b""


def test_an_offset_behind_the_end_starts_anew_and_says_so(stage: Stage) -> None:
    stage.operator.writes(OWN, "short\n")
    answer = stage.get("/logs/j?offset=1000")
    assert (answer.text, answer.headers["X-Opeva-Log-Reset"]) == ("short\n", "1")
    assert "X-Opeva-Log-Reset" not in stage.get("/logs/j?offset=6").headers


def test_both_endpoints_serve_the_same_bytes_and_bad_ones_keep_their_length(stage: Stage) -> None:
    raw = b"good \xff\xfe bad \xe2\x82 cut \x00\n"
    stage.operator.writes(OWN, raw)
    ends(stage)
    logs, files = stage.get("/logs/j").content, stage.get("/file-logs/j").content
    assert logs == files == b"good ?? bad ?? cut \x00\n"
    assert len(logs) == len(raw)


def test_a_character_is_never_cut(stage: Stage) -> None:
    word = "€".encode()
    stage.operator.writes(OWN, b"price: " + word[:2])
    first = stage.get("/logs/j")
    assert first.content == b"price: "
    stage.operator.appends(OWN, word[2:] + b"\n")
    assert stage.get(f"/logs/j?offset={first.headers['X-Opeva-Log-Next-Offset']}").text == "€\n"


def test_a_large_log_arrives_whole_with_characters_across_chunks(stage: Stage) -> None:
    text = "x" + "€" * 700_000
    stage.operator.writes(OWN, text)
    assert stage.get("/logs/j").text == text


@pytest.mark.parametrize("query", ["tail=0", "tail=x", "offset=-1", "tail=1&offset=1", "follow=perhaps", "source=x"])
def test_a_bad_question_is_refused_with_a_sentence(stage: Stage, query: str) -> None:
    answer = stage.get(f"/logs/j?{query}")
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


# -- in chunks -------------------------------------------------------------------------------------------------------


def chunk(stage: Stage, **query: int) -> Any:
    answer = stage.get("/logs-chunk/j", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_viewer_gets_the_tail_and_then_what_came_since(stage: Stage) -> None:
    stage.operator.writes(OWN, "".join(f"line {n}\n" for n in range(1000)))
    first = chunk(stage, tail_lines=2)
    assert first == {
        "job_id": "j", "text": "line 998\nline 999\n", "next_offset": 8890, "truncated": False, "available": True,
        "message": None,
    }  # fmt: skip
    assert chunk(stage, offset=first["next_offset"])["text"] == ""
    stage.operator.appends(OWN, b"more\n")
    then = chunk(stage, offset=first["next_offset"])
    assert (then["text"], then["next_offset"], then["truncated"]) == ("more\n", 8895, False)


def test_chunks_put_together_are_the_log_whatever_their_size(stage: Stage) -> None:
    stage.operator.writes(OWN, ("zwölf 😀\n" * 1000).encode() + b"\xff\xfe\n")
    ends(stage)
    text, offset = "", 0
    while (found := chunk(stage, offset=offset, max_bytes=1024))["text"]:
        assert len(found["text"].encode()) == found["next_offset"] - offset <= 1024
        assert found["truncated"] == (found["next_offset"] < 12003)
        text, offset = text + found["text"], found["next_offset"]
    assert text == stage.get("/file-logs/j").text
    assert offset == len(text.encode()) == 12003


def test_a_tail_is_bounded_in_bytes_too_and_says_that_it_is_cut(stage: Stage) -> None:
    stage.operator.writes(OWN, "é" * 3000)
    found = chunk(stage, max_bytes=1025)
    assert (found["text"], found["truncated"], found["next_offset"]) == ("é" * 512, True, 6000)
    stage.operator.writes(OWN, b"x" * 3_000_000)
    assert len(chunk(stage, max_bytes=2**21)["text"]) == 2**21


def test_a_character_that_is_not_whole_yet_waits_for_its_end(stage: Stage) -> None:
    stage.operator.writes(OWN, "a😀".encode()[:3])
    found = chunk(stage)
    assert (found["text"], found["next_offset"]) == ("a", 1)
    stage.operator.appends(OWN, "😀".encode()[2:])
    assert chunk(stage, offset=1)["text"] == "😀"


def test_a_log_that_was_replaced_is_shown_from_its_tail(stage: Stage) -> None:
    stage.operator.writes(OWN, "a long line of the log before\n")
    stage.operator.writes(OWN, "new\n")
    found = chunk(stage, offset=30)
    assert (found["text"], found["next_offset"], found["truncated"]) == ("new\n", 4, True)
    assert "replaced" in found["message"]


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.RUNNING, Phase.FAILED])
def test_a_job_without_a_log_has_no_chunk_and_says_why(stage: Stage, phase: Phase) -> None:
    ends(stage, phase)
    found = chunk(stage)
    assert (found["available"], found["text"], found["next_offset"]) == (False, "", 0)
    assert phase.word in found["message"]
    assert stage.get("/logs-chunk/nobody").status_code == 404


@pytest.mark.parametrize(
    "query", ["offset=-1", "tail_lines=0", "tail_lines=5001", "max_bytes=1023", "max_bytes=2097153"]
)
def test_a_chunk_out_of_bounds_is_refused_with_a_sentence(stage: Stage, query: str) -> None:
    answer = stage.get(f"/logs-chunk/j?{query}")
    assert (answer.status_code, isinstance(answer.json()["detail"], str)) == (422, True)


# -- following -------------------------------------------------------------------------------------------------------


def test_following_goes_on_until_the_job_has_ended_and_all_is_read(stage: Stage) -> None:
    stage.operator.writes(OWN, "one\n")
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(lambda: stage.get("/logs/j?follow=true").text)
        for word in ("two\n", "three\n"):
            time.sleep(0.2)
            stage.operator.appends(OWN, word.encode())
        assert not whole.done()
        stage.operator.appends(OWN, b"last\n")
        ends(stage)
        assert whole.result(10) == "one\ntwo\nthree\nlast\n"


def test_following_may_begin_before_there_is_a_log(stage: Stage) -> None:
    stage.operator.tells("j", Phase.QUEUED)
    stage.shows("j", "queued")
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(lambda: stage.get("/logs/j?follow=true").text)
        stage.operator.tells("j", Phase.RUNNING)
        stage.operator.writes(CAPTURED, "begun\n")
        stage.shows("j", "running")
        ends(stage)
        assert whole.result(10) == "begun\n"


def test_following_a_job_that_never_runs_ends_with_a_sentence(stage: Stage) -> None:
    stage.operator.tells("j", Phase.QUEUED)
    stage.shows("j", "queued")
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(lambda: stage.get("/logs/j?follow=true").text)
        time.sleep(0.1)
        ends(stage, Phase.CANCELED)
        assert whole.result(10) == "No log: job j is canceled (Canceled)\n"


def test_following_starts_at_the_tail_when_asked_to(stage: Stage) -> None:
    stage.operator.writes(OWN, "one\ntwo\nthree\n")
    ends(stage)
    assert stage.get("/logs/j?follow=true&tail=1").text == "three\n"


def test_a_hundred_followers_delay_nobody_and_go_when_they_are_gone(stage: Stage) -> None:
    stage.operator.writes(OWN, "one\n")
    address = str(stage.client.base_url)
    begun, release = threading.Barrier(101), threading.Event()

    def follow() -> None:
        with (
            httpx.Client(base_url=address, timeout=30) as client,
            client.stream("GET", "/logs/j?follow=true") as answer,
        ):
            pieces = answer.iter_text()
            assert next(pieces) == "one\n"
            begun.wait(30)
            release.wait(30)

    with ThreadPoolExecutor(100) as pool:
        followers = [pool.submit(follow) for _ in range(100)]
        begun.wait(30)
        assert stage.get("/health").json()["api"]["log_followers"] == 100
        slowest = max(stage.get("/status/j").elapsed.total_seconds() for _ in range(50))
        release.set()
        for follower in followers:
            follower.result()
    assert slowest < 1.0
    stage.eventually(lambda: stage.get("/health").json()["api"]["log_followers"] == 0)
