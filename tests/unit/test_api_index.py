"""The index on its own: what files mean, whatever order they are looked at in, and without any watch."""

import shutil
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from opeva_api.index import Index
from opeva_api.record import as_list
from opeva_api.testing import DIGEST, START, PlayedOperator, job_status
from opeva_specs.settings import Settings
from opeva_specs.status import Phase, Wish
from opeva_specs.volume import SharedVolume

SPEC = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {{name: {}}}\nspec: {{configPath: x.yaml}}\n"


@pytest.fixture
def operator(tmp_path: Path) -> PlayedOperator:
    return PlayedOperator(tmp_path)


@pytest.fixture
def index(operator: PlayedOperator) -> Index:
    return Index(operator.volume, Settings(shared_data=operator.volume.root))


def words(index: Index) -> dict[str, str]:
    listed = orjson.loads(b"".join(as_list(index.page(None, 0, None)[0])))
    return {item["job_id"]: item["status"] for item in listed}


def stop(digest: str | None = DIGEST) -> Wish:
    return Wish(id="w1", wish="stop", digest=digest, at=START)


def test_a_rescan_finds_what_came_changed_and_went(operator: PlayedOperator, index: Index) -> None:
    operator.tells("a", Phase.RUNNING)
    operator.tells("b", Phase.QUEUED)
    index.rescan()
    assert words(index) == {"a": "running", "b": "queued"}
    operator.tells("a", Phase.FINISHED)
    operator.statuses.remove("b")
    operator.tells("c", Phase.STOPPED)
    index.rescan()
    assert words(index) == {"a": "finished", "c": "stopped"}


def test_a_file_of_ours_without_status_is_queued_and_not_seen_yet(operator: PlayedOperator, index: Index) -> None:
    operator.writes("specs/api/a.yaml", SPEC.format("a"))
    operator.writes("specs/api/b.yaml", SPEC.format("other"))
    operator.writes("specs/api/c.yaml", "torn: [")
    operator.writes("specs/api/.d.yaml.tmp~", SPEC.format("d"))
    operator.writes("specs/e.yaml", SPEC.format("e"))
    index.rescan()
    assert words(index) == {"a": "queued"}
    assert index.get("a") is not None and index.get("a").told()["reason"] == "NotSeenYet"  # type: ignore[union-attr]


def test_a_tombstone_hides_the_file_that_is_still_there(operator: PlayedOperator, index: Index) -> None:
    operator.writes("specs/api/a.yaml", SPEC.format("a"))
    operator.tells("a", Phase.FINISHED, hidden=True)
    index.rescan()
    assert words(index) == {}


@pytest.mark.parametrize(
    ("phase", "wish", "last_wish", "word"),
    [
        pytest.param(Phase.RUNNING, stop(), None, "stop_requested", id="a live job"),
        pytest.param(Phase.QUEUED, stop(), None, "stop_requested", id="a queued one too"),
        pytest.param(Phase.RUNNING, stop(None), None, "stop_requested", id="whatever its digest"),
        pytest.param(Phase.RUNNING, stop("other"), None, "running", id="of another digest"),
        pytest.param(Phase.RUNNING, stop(), "w1", "running", id="taken up already"),
        pytest.param(Phase.FINISHED, stop(), None, "finished", id="an ended job"),
        pytest.param(Phase.RUNNING, Wish(id="w", wish="rerun", at=START), None, "running", id="another wish"),
    ],
)
def test_a_wish_shows_until_the_truth_comes(
    operator: PlayedOperator, index: Index, phase: Phase, wish: Wish, last_wish: str | None, word: str
) -> None:
    operator.tells("a", phase, last_wish=last_wish)
    operator.control.write("a", wish)
    index.rescan()
    assert words(index) == {"a": word}
    operator.control.remove("a")
    index.rescan()
    assert words(index) == {"a": phase.word}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"metadata": {}, "status": {"phase": "Odd"}}', "\xff"])
def test_a_damaged_status_leaves_what_was_known(operator: PlayedOperator, index: Index, content: str) -> None:
    operator.tells("a", Phase.RUNNING)
    index.rescan()
    operator.writes("status/a.json", content.encode("latin-1"))
    operator.writes("status/b.json", content.encode("latin-1"))
    index.rescan()
    assert words(index) == {"a": "running"}


def test_a_status_folder_that_is_gone_says_nothing_about_its_jobs(operator: PlayedOperator, index: Index) -> None:
    operator.tells("a", Phase.RUNNING)
    index.rescan()
    shutil.rmtree(operator.volume.status)
    index.rescan()
    assert words(index) == {"a": "running"}


def test_an_empty_place_has_no_jobs(tmp_path: Path) -> None:
    index = Index(SharedVolume(tmp_path), Settings(shared_data=tmp_path))
    index.rescan()
    assert index.page(None, 0, None) == ((), 0)
    assert words(index) == {}


def test_ten_thousand_jobs_are_listed_newest_first_and_kept_small(operator: PlayedOperator, index: Index) -> None:
    for i in range(10_000):
        status = job_status(f"job-{i:05}", Phase.FINISHED, queued_at=START + timedelta(seconds=i))
        operator.statuses.write(status, durable=False)
    index.rescan()
    records, count = index.page(None, 0, None)
    body = b"".join(as_list(records))
    items = orjson.loads(body)
    assert (count, len(items)) == (10_000, 10_000)
    assert [item["job_id"] for item in items[:2]] == ["job-09999", "job-09998"]
    assert len(body) / count < 1500
    operator.tells("job-00007", Phase.FAILED)
    index.refresh(["job-00007"])
    assert index.page("failed", 0, 5)[1] == 1
