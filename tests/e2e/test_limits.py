"""Limits, retries, suspension and places on the real engine: the right reason each time, and nothing left behind."""

import pytest
from tests.e2e.harness import Site, consistently
from tests.e2e.jobs import SLEEP

pytestmark = pytest.mark.docker

STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"


def swept(site: Site, name: str) -> None:
    """Hold that nothing of the job occupies anything."""
    site.until_true(lambda: site.containers(name) == [], "its container is removed")


# -- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [SLEEP, STUBBORN], ids=["listens", "ignores SIGTERM"])
def test_deadline_exceeded(site: Site, script: str) -> None:
    for number in range(3):
        site.run(f"long-{number}", f"echo at work; {script}", activeDeadlineSeconds=2)
    for number in range(3):
        told = site.until(f"long-{number}", "Failed", "DeadlineExceeded")
        assert "activeDeadlineSeconds: 2" in told.message
        assert told.attempt["exitCode"] in (137, 143)
        assert told.attempt["evidence"] == ["at work"]
        swept(site, f"long-{number}")


def test_a_paused_run_keeps_no_deadline_waiting(site: Site) -> None:
    site.run("paused", SLEEP, activeDeadlineSeconds=4)
    site.until("paused", "Running")
    site.client.pause(site.container("paused"))
    site.until("paused", "Failed", "DeadlineExceeded")
    swept(site, "paused")


def test_stalled(site: Site) -> None:
    script = "for n in 1 2 3; do echo step $n; sleep 0.5; done; sleep 300"
    site.run("silent", script, stallSeconds=3)
    site.run("lively", "while :; do echo tick; sleep 0.5; done", stallSeconds=3)
    told = site.until("silent", "Failed", "Stalled")
    assert told.attempt["evidence"] == ["step 1", "step 2", "step 3"]
    assert site.status("lively").phase == "Running"
    swept(site, "silent")


# -- retries ---------------------------------------------------------------------------------------------------------


def test_a_failure_is_tried_again_with_a_clean_folder(site: Site) -> None:
    script = (
        "echo attempt $OPEVA_ATTEMPT of generation $OPEVA_GENERATION; ls /data/jobs/twice/results; "
        "touch /data/jobs/twice/results/mark; ls $OPEVA_PREVIOUS_ATTEMPT/results; [ $OPEVA_ATTEMPT = 2 ]"
    )
    site.run("twice", script, backoffLimit=3)
    told = site.until("twice", "Queued", "BackOff")
    assert told.attempts[0]["exitCode"] == 1
    told = site.until("twice", "Finished", "Completed", within=30)
    assert [a["reason"] for a in told.attempts] == ["ExitNonZero", "Completed"]
    log = (site.root / "jobs/twice/logs/container.log").read_text()
    assert log.splitlines() == ["attempt 2 of generation 1", "mark"]
    assert (site.root / "jobs/twice/attempts/1-1/results/mark").exists()
    assert site.runs("twice") == 2


def test_retries_exhausted_and_codes_that_are_not_tried_again(site: Site) -> None:
    site.run("hopeless", "exit 3", backoffLimit=1)
    site.run("final", "exit 4", backoffLimit=5, failOn=[4])
    site.run("other", "exit 5", backoffLimit=5, retryOn=[6])
    site.until("final", "Failed", "ExitNonZero")
    site.until("other", "Failed", "ExitNonZero")
    told = site.until("hopeless", "Failed", "RetriesExhausted", within=30)
    assert [a["exitCode"] for a in told.attempts] == [3, 3]
    assert {name: site.runs(name) for name in ("hopeless", "final", "other")} == {"hopeless": 2, "final": 1, "other": 1}


def test_a_back_off_survives_the_operators_death(site: Site) -> None:
    site.run("again", "[ $OPEVA_ATTEMPT = 2 ]", backoffLimit=1)
    before = site.until("again", "Queued", "BackOff").raw["status"]["retryAt"]
    site.restart()
    assert site.until("again", "Queued", "BackOff").raw["status"]["retryAt"] == before
    told = site.until("again", "Finished", within=30)
    assert told.attempt["startedAt"] >= before


def test_a_container_that_is_removed_is_the_servers_failure(site: Site) -> None:
    site.run("lost", f"[ $OPEVA_ATTEMPT = 1 ] && {SLEEP}; exit 0", backoffLimit=1)
    site.until("lost", "Running")
    site.client.remove_container(site.container("lost"), force=True)
    told = site.until("lost", "Finished", within=30)
    assert [a["reason"] for a in told.attempts] == ["ContainerLost", "Completed"]


# -- suspension ------------------------------------------------------------------------------------------------------


def test_suspended_and_back(site: Site) -> None:
    site.run("now", SLEEP)
    site.run("later", "true", suspend=True)
    site.until("now", "Running")
    assert site.until("later", "Queued", "Suspended").raw["status"]["blockers"][0]["kind"] == "Suspended"
    site.run("now", SLEEP, suspend=True)
    told = site.until("now", "Queued", "Suspended")
    assert told.attempt["reason"] == "Suspended"
    swept(site, "now")
    assert site.runs("later") == 0
    site.run("now", SLEEP)
    site.run("later", "true")
    site.until("later", "Finished")
    told = site.until("now", "Running")
    assert (told.generation, [a["attempt"] for a in told.attempts]) == (1, [1, 2])


# -- it cannot start -------------------------------------------------------------------------------------------------


def test_bad_mount(site: Site) -> None:
    (site.root / "rejected").rmdir()
    for number in range(3):
        site.run(f"nowhere-{number}")
        told = site.until(f"nowhere-{number}", "Failed", "BadMount")
        assert "rejected" in told.message
        swept(site, f"nowhere-{number}")


def test_host_unusable(site: Site) -> None:
    (site.root / "elsewhere").mkdir()
    site.restart(OPEVA_SHARED_DATA_HOST=str(site.root / "elsewhere"))
    site.run("waits")
    assert "elsewhere" in site.until("waits", "Queued", "HostUnusable").message
    assert site.containers() == []
    site.restart(OPEVA_SHARED_DATA_HOST=str(site.root))
    site.until("waits", "Finished")


def test_too_large_and_waits_for_a_larger_host(site: Site) -> None:
    site.run("huge", resources={"cpu": 4000})
    site.run("vast", resources={"memory": "900Ti"})
    for name, words in (("huge", "4000"), ("vast", "900")):
        told = site.until(name, "Queued", "TooLarge")
        assert words in told.message
    site.run("beside")
    site.until("beside", "Finished")
    site.run("huge", resources={"cpu": 1})
    site.until("huge", "Finished", generation=2)


def test_host_unknown(site: Site) -> None:
    site.run("lunar", targetHost="moon")
    assert "moon" in site.until("lunar", "Queued", "HostUnknown").message
    assert site.runs("lunar") == 0


def test_a_gpu_is_asked_for_and_the_engines_refusal_is_told(site: Site) -> None:
    site.run("waits", resources={"gpu": 1})
    site.until("waits", "Queued", "TooLarge")
    site.restart(OPEVA_GPUS="1")
    told = site.until("waits", "Failed", "StartFailed")
    assert "gpu" in told.message
    swept(site, "waits")


# -- places ----------------------------------------------------------------------------------------------------------


def test_what_is_declared_is_never_exceeded_and_is_enforced(site: Site) -> None:
    site.restart(OPEVA_CPUS="1", OPEVA_MEMORY="1G")
    for name in ("one", "two", "three"):
        site.run(name, SLEEP, resources={"cpu": "500m", "memory": "64Mi"})
        site.until(name, "Queued" if name == "three" else "Running")
    told = site.until("three", "Queued", "CpuShort")
    assert told.raw["status"]["blockers"][0]["details"]["short"] == 500_000_000
    found = site.client.inspect_container(site.container("one"))["HostConfig"]
    assert (found["NanoCpus"], found["Memory"], found["MemorySwap"]) == (500_000_000, 64 * 2**20, 64 * 2**20)
    assert found["PidsLimit"] == 4096
    site.wish("one", "stop")
    site.until("three", "Running")


def test_memory_short_and_then_enough(site: Site) -> None:
    site.restart(OPEVA_MEMORY="128M")
    site.run("holds", SLEEP, resources={"memory": "100Mi"})
    site.until("holds", "Running")
    site.run("waits", resources={"memory": "64Mi"})
    told = site.until("waits", "Queued", "MemoryShort")
    assert told.raw["status"]["blockers"][0]["details"]["short"] == 36 * 2**20
    site.wish("holds", "stop")
    site.until("waits", "Finished")


def test_user_cap(site: Site) -> None:
    site.restart(OPEVA_MAX_JOBS_PER_USER="1")
    site.run("hers", SLEEP, submittedBy="ana")
    site.until("hers", "Running")
    site.run("hers-too", submittedBy="ana")
    site.run("his", submittedBy="bo")
    assert "'ana'" in site.until("hers-too", "Queued", "UserCap").message
    site.until("his", "Finished")
    site.wish("hers", "stop")
    site.until("hers-too", "Finished")


def test_what_comes_free_is_kept_for_one_that_was_passed_often_enough(site: Site) -> None:
    site.restart(OPEVA_CPUS="2", OPEVA_MAX_BYPASS="1")
    site.run("holds", SLEEP, resources={"cpu": 1})
    site.until("holds", "Running")
    site.run("large", resources={"cpu": 2})
    site.until("large", "Queued", "CpuShort")
    site.run("passes", resources={"cpu": 1})
    site.until("passes", "Finished")
    site.run("may-not", resources={"cpu": 1})
    assert "large" in site.until("may-not", "Queued", "Reserved").message
    site.wish("holds", "stop")
    site.until("large", "Finished")
    site.until("may-not", "Finished")


def test_data_set_missing(site: Site) -> None:
    site.run("waits", config={"simulator": {"dataset_path": "/data/datasets/town/schema.json"}})
    assert "town" in site.until("waits", "Queued", "DatasetMissing").message
    (site.root / "datasets/town").mkdir(parents=True)
    site.until("waits", "Finished")


def test_a_fork_bomb_meets_its_limit(site: Site) -> None:
    site.restart(OPEVA_PIDS_LIMIT="16")
    site.run("bomb", "for n in $(seq 40); do sleep 5 & done; wait")
    told = site.until_ended("bomb")
    assert told.reason in ("ExitNonZero", "Completed")
    log = (site.root / "jobs/bomb/logs/container.log").read_text()
    assert "can't fork" in log


def test_files_go_after_their_time_and_the_job_does_not_run_again(site: Site) -> None:
    site.run("brief", "true", ttlSecondsAfterFinished=2)
    site.run("kept", "true", ttlSecondsAfterFinished=2, keep=True)
    site.until("brief", "Finished")
    site.until_true(lambda: not (site.root / "jobs/brief").exists(), "its files are gone")
    site.until_true(lambda: site.status("brief").hidden, "nobody is shown it")
    site.restart()
    consistently(lambda: (site.runs("brief"), (site.root / "jobs/kept").exists()) == (1, True), "it stays so", 2)
