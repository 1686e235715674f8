"""Many files at once: a git clone inside `specs/`, and a folder that vanishes. Only content counts; nothing is lost."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.e2e.harness import Site, consistently
from tests.e2e.jobs import SLEEP, job, text_of

pytestmark = pytest.mark.docker

FILES = 1000
LIVE = [f"live-{number}" for number in range(5)]
QUEUED = [f"queued-{number}" for number in range(5)]
# What policy denies ends at once and without a container, and asks again when its digest changes.
ENDED = [f"ended-{number:04}" for number in range(FILES - len(LIVE) - len(QUEUED))]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    nowhere = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, env=os.environ | nowhere, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def write(folder: Path, name: str, script: str, note: str = "") -> None:
    more = {"ended": {"network": "host"}, "queued": {"configPath": "absent.yaml"}}.get(name.partition("-")[0], {})
    (folder / f"{name}.yaml").write_text(note + text_of(job(name, script, **more)))


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with 1,000 jobs."""
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "nothing yet")
    git(folder, "branch", "empty")
    for name in [*LIVE, *QUEUED, *ENDED]:
        write(folder, name, SLEEP)
    commit(folder, "all jobs")
    return folder


@pytest.fixture
def clone(site: Site, origin: Path) -> Path:
    """A clone of it inside `specs/`, every job as far as it comes: 5 run, 5 wait, 990 have ended."""
    git(site.root / "specs", "clone", "--quiet", str(origin), "team")
    for name, word in {**dict.fromkeys(LIVE, "Running"), **dict.fromkeys(QUEUED, "ConfigMissing")}.items():
        site.until(name, word)
    for name in ENDED:
        site.until(name, "PolicyDenied")
    return site.root / "specs/team"


def generations(site: Site) -> dict[str, int]:
    """The generation of every job, and 0 for whoever is not where it belongs."""
    phases = {"live": "Running", "queued": "Queued", "ended": "Failed"}
    found = {}
    for name in [*LIVE, *QUEUED, *ENDED]:
        told = site.status(name)
        is_right = told is not None and told.phase == phases[name.partition("-")[0]]
        found[name] = told.generation if told is not None and is_right else 0
    return found


def test_git_acts_on_what_changed_in_content_and_on_nothing_else(site: Site, clone: Path, origin: Path) -> None:
    expected = dict.fromkeys([*LIVE, *QUEUED, *ENDED], 1)
    containers = {name: site.container(name) for name in LIVE}
    assert generations(site) == expected

    # Pull: three jobs get another content, all others a comment only.
    changed = [LIVE[0], QUEUED[0], ENDED[0]]
    for name in expected:
        write(origin, name, f"echo new; {SLEEP}" if name in changed else SLEEP, "# a note\n")
    commit(origin, "three jobs changed")
    git(clone, "pull", "--quiet")
    expected |= dict.fromkeys(changed, 2)
    site.until_true(lambda: generations(site) == expected, "the three are new, and no other")

    # Rebase: the work tree shows the old files, then the new ones, and ends as it began.
    write(clone, "extra", "true")
    commit(clone, "one more here")
    write(origin, "other", "true")
    commit(origin, "one more there")
    git(clone, "pull", "--quiet", "--rebase")
    site.until_ended("extra")
    site.until_ended("other")

    # Away to an earlier commit and back: what waits may follow at once, what runs may not.
    git(clone, "checkout", "--quiet", "HEAD~3")
    git(clone, "checkout", "--quiet", "main")
    site.until_true(lambda: generations(site)[ENDED[0]] == 2, "the ended job shows its newest run again")
    steady = {name: number for name, number in expected.items() if name != QUEUED[0]}
    consistently(lambda: generations(site).items() >= steady.items(), "nothing else changed", 5, site.explain)
    site.until(QUEUED[0], "ConfigMissing")
    assert {name: site.container(name) for name in LIVE[1:]} == {name: containers[name] for name in LIVE[1:]}
    assert {name: site.runs(name) for name in expected if site.runs(name)} == dict.fromkeys(LIVE, 1) | {LIVE[0]: 2}
    assert site.operator()["heldDeletions"] == []


def test_a_branch_without_files_stops_nothing_until_a_person_confirms(site: Site, clone: Path) -> None:
    git(clone, "checkout", "--quiet", "empty")
    active = sorted([*LIVE, *QUEUED])
    site.until_true(lambda: site.operator()["heldDeletions"] == active, "all deletions are held")
    told = site.until(LIVE[0], "Running")
    assert told.condition("SpecPresent") == "False"
    expected = dict.fromkeys([*LIVE, *QUEUED, *ENDED], 1)
    consistently(lambda: generations(site) == expected, "all goes on", 5, site.explain)
    site.restart()
    consistently(lambda: generations(site) == expected, "all goes on after a restart", 4, site.explain)
    assert site.operator()["heldDeletions"] == active

    git(clone, "checkout", "--quiet", "main")
    site.until_true(lambda: site.operator()["heldDeletions"] == [], "nothing is held any more")
    consistently(lambda: generations(site) == expected, "nothing was run anew", 3, site.explain)

    git(clone, "checkout", "--quiet", "empty")
    site.until_true(lambda: site.operator()["heldDeletions"] == active, "all deletions are held")
    site.put("control/confirm-deletions", "")
    for name in LIVE:
        site.until(name, "Stopped", "SpecDeleted")
    for name in QUEUED:
        site.until(name, "Canceled", "SpecDeleted")
    assert {site.runs(name) for name in LIVE} == {1}


@pytest.mark.parametrize("harm", ["renamed", "empty", "foreign"])
@pytest.mark.parametrize("meanwhile", ["running", "down"])
def test_a_specs_folder_that_is_not_ours_deletes_nothing(site: Site, harm: str, meanwhile: str) -> None:
    site.run("live", SLEEP)
    site.run("ended")
    site.until("live", "Running")
    site.until_ended("ended")
    specs = site.root / "specs"
    if meanwhile == "down":
        site.kill()
    specs.rename(site.root / "elsewhere")
    if harm != "renamed":
        specs.mkdir()
    if harm == "foreign":
        (specs / ".opeva").write_text("of-another-volume\n")
    if meanwhile == "down":
        site.start()
    site.until_true(lambda: site.operator()["problems"], "the operator tells of it")
    consistently(
        lambda: site.status("live").phase == "Running" and site.status("ended").phase == "Finished", "all goes on", 5
    )
    if specs.exists():
        shutil.rmtree(specs)
    (site.root / "elsewhere").rename(specs)
    site.until_true(lambda: not site.operator()["problems"], "all is well again")
    site.run("later")
    site.until_ended("later")
    assert {name: site.runs(name) for name in ("live", "ended", "later")} == {"live": 1, "ended": 1, "later": 1}
    assert site.status("live").phase == "Running"
