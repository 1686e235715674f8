"""What every engine promises, on the fake and on a real Docker engine."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contract.machines import Bench

from opeva_operator.engine import (
    Container,
    ContainerGone,
    Engine,
    EngineUnreachable,
    ImageMissing,
    NameTaken,
    NetworkNotFound,
    PullFailed,
)
from opeva_operator.testing import FakeRun

STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"


# --- create, start, find, list --------------------------------------------------------------------------------


def test_a_second_container_of_a_name_is_refused(bench: Bench) -> None:
    bench.create("one")
    with pytest.raises(NameTaken, match=bench.name("one")):
        bench.create("one")


def test_of_many_who_create_the_same_name_one_wins(bench: Bench) -> None:
    with ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(bench.create, "one") for _ in range(4)]
    lost = [one.exception() for one in tries if one.exception() is not None]
    assert [type(error) for error in lost] == [NameTaken] * 3
    assert len(bench.engine.list()) == 1


def test_what_was_created_but_never_started_has_not_ended(bench: Bench) -> None:
    bench.create("one")
    found = bench.found("one")
    assert found.state == "created"
    assert (found.started_at, found.finished_at, found.exit_code) == (None, None, None)
    assert not found.has_ended
    assert not found.is_live


def test_a_container_tells_whose_it_is(bench: Bench) -> None:
    container_id = bench.create("one")
    found = bench.found("one")
    assert (found.id, found.name, found.is_ours) == (container_id, bench.name("one"), True)
    assert (found.job, found.generation, found.attempt, found.digest) == ("one", 2, 3, "sha256:abc")
    assert found.image == bench.machine.image
    assert found.image_id.startswith("sha256:")


def test_the_listing_tells_the_same_identity(bench: Bench) -> None:
    bench.create("one")
    bench.sleeper("two")
    listed = {one.job: one for one in bench.engine.list()}
    assert set(listed) == {"one", "two"}
    assert (listed["one"].state, listed["two"].state) == ("created", "running")
    for job, one in listed.items():
        assert (one.id, one.name, one.is_ours) == (bench.found(job).id, bench.name(job), True)
        assert (one.generation, one.attempt, one.digest) == (2, 3, "sha256:abc")


@pytest.mark.parametrize("code", [0, 1, 7, 137, 255])
def test_an_exit_code_is_told_as_it_was(bench: Bench, code: int) -> None:
    began_at = datetime.now(UTC) - timedelta(seconds=1)
    bench.start("one", f"exit {code}", FakeRun(exit_code=code, run_for=0))
    ended = bench.ended("one")
    assert (ended.state, ended.exit_code, ended.oom_killed) == ("exited", code, False)
    assert ended.started_at is not None and ended.finished_at is not None
    assert began_at <= ended.started_at <= ended.finished_at <= datetime.now(UTC) + timedelta(seconds=1)


def test_a_running_container_is_live_and_has_no_exit_code(bench: Bench) -> None:
    bench.sleeper("one")
    found = bench.found("one")
    assert found.is_live
    assert not found.has_ended
    assert (found.exit_code, found.finished_at) == (None, None)


def test_too_much_memory_is_told_by_the_engine(bench: Bench) -> None:
    run = FakeRun(exit_code=137, run_for=0, oom=True)
    bench.start("one", "tail /dev/zero", run, memory_bytes=16 * 2**20)
    ended = bench.ended("one")
    assert ended.oom_killed
    assert ended.exit_code == 137


def test_starting_twice_is_starting_once(bench: Bench) -> None:
    container_id = bench.sleeper("one")
    before = bench.found("one")
    bench.engine.start(container_id)
    assert bench.found("one") == before


def test_a_command_that_does_not_exist_ends_the_run_and_the_log_says_why(bench: Bench) -> None:
    run = FakeRun(exit_code=127, run_for=0, output=b"exec /nonexistent failed: No such file or directory\n")
    container_id = bench.start("one", run=run, command=("/nonexistent",))
    assert bench.ended("one").exit_code == 127
    log = b"".join(entry.data for entry in bench.engine.logs(container_id, None, follow=False))
    assert b"/nonexistent failed: No such file or directory" in log


def test_a_foreign_container_is_seen_but_not_ours(bench: Bench) -> None:
    bench.machine.plant(bench.name("foreign"))
    found = bench.found("foreign")
    assert not found.is_ours
    assert found.job == ""
    assert bench.engine.list() == []
    with pytest.raises(NameTaken):
        bench.create("foreign")


def test_two_instances_do_not_see_each_other(bench: Bench) -> None:
    bench.create("one")
    other = bench.machine.beside("other")
    assert other.list() == []
    seen = other.find(bench.name("one"))
    assert seen is not None
    assert not seen.is_ours


# --- what is missing ------------------------------------------------------------------------------------------


def test_a_missing_image_is_named_and_leaves_nothing_behind(bench: Bench) -> None:
    assert bench.engine.image_digest("opeva-test/missing:1") is None
    with pytest.raises(ImageMissing, match="opeva-test/missing:1"):
        bench.create("one", image="opeva-test/missing:1")
    assert bench.engine.find(bench.name("one")) is None


def test_an_image_that_is_here_has_a_digest_with_or_without_the_usual_tag(bench: Bench) -> None:
    digest = bench.engine.image_digest(bench.machine.image)
    assert digest is not None
    assert digest.startswith("sha256:")
    assert bench.engine.image_digest(bench.machine.image.removesuffix(":latest")) == digest


def test_a_missing_network_is_named_and_leaves_a_container_that_never_ran(bench: Bench) -> None:
    network = f"net-{bench.run_id}"
    assert not bench.engine.has_network(network)
    container_id = bench.create("one", network=network)
    with pytest.raises(NetworkNotFound, match=network):
        bench.engine.start(container_id)
    left = bench.found("one")
    assert left.state == "created"
    assert not left.has_ended
    assert network in left.error


def test_a_network_is_made_once_and_used(bench: Bench) -> None:
    network = f"net-{bench.run_id}"
    bench.engine.ensure_network(network)
    bench.engine.ensure_network(network)
    assert bench.engine.has_network(network)
    assert not bench.engine.has_network(network[:-1])
    bench.start("one", network=network)
    assert bench.ended("one").exit_code == 0


def test_pulling_what_no_registry_has_says_not_found(bench: Bench) -> None:
    with pytest.raises(PullFailed) as failed:
        bench.engine.pull(f"{bench.machine.registry_name}/missing:1", 30)
    assert failed.value.kind == "not found"


def test_a_pulled_image_is_here(bench: Bench) -> None:
    image = f"{bench.machine.registry_name}/offered:1"
    bench.machine.publish(image)
    assert bench.engine.image_digest(image) is None
    bench.engine.pull(image, 30)
    assert bench.engine.image_digest(image) is not None


# --- its machine ----------------------------------------------------------------------------------------------


def test_an_engine_tells_of_its_machine_and_what_its_clock_says(bench: Bench) -> None:
    before = datetime.now(UTC)
    told = bench.engine.info()
    assert before - timedelta(seconds=2) <= told.at <= datetime.now(UTC) + timedelta(seconds=2)
    assert told.id == bench.engine.info().id
    assert (told.cpus >= 1, told.memory >= 2**20, told.gpus >= 0) == (True, True, True)


def test_a_file_on_the_engines_host_is_read_as_a_container_sees_it(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/instance.json").write_bytes(b'{"id": "\xff"}')
    for _ in range(2):
        assert bench.engine.read_file(str(tmp_path), "state/instance.json") == b'{"id": "\xff"}'
    assert bench.engine.read_file(str(tmp_path), "state/other.json") is None
    assert bench.engine.read_file(str(tmp_path), "state") is None
    assert bench.engine.read_file(str(tmp_path / "nowhere"), "state/instance.json") is None
    assert not (tmp_path / "nowhere").exists()
    assert bench.engine.list() == []  # nothing that was looked with is taken for a job's
    assert not any("probe" in image.name for image in bench.engine.images())


def test_every_name_of_an_image_is_told(bench: Bench) -> None:
    image = f"{bench.machine.registry_name}/offered:1"
    bench.machine.publish(image)
    bench.engine.pull(image, 30)
    told = {found.name: found for found in bench.engine.images()}
    ours, pulled = told[bench.machine.image.removesuffix(":latest") + ":latest"], told[image]
    assert ours.digest is None  # it came from no registry
    assert ours.id.startswith("sha256:")
    assert pulled.digest is not None
    assert pulled.created_at <= datetime.now(UTC)


# --- signals, removal -----------------------------------------------------------------------------------------


def test_a_term_signal_ends_a_program_that_knows_no_signals(bench: Bench) -> None:
    container_id = bench.sleeper("one")
    bench.engine.signal(container_id, "SIGTERM")
    assert bench.ended("one").exit_code == 143


def test_who_ignores_term_is_killed(bench: Bench) -> None:
    container_id = bench.start("one", STUBBORN, FakeRun(ignores_term=True, output=b""))
    bench.engine.signal(container_id, "SIGTERM")
    assert bench.found("one").is_live
    bench.engine.signal(container_id, "SIGKILL")
    assert bench.ended("one").exit_code == 137


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_paused_container_hears_a_signal(bench: Bench, signal: str) -> None:
    container_id = bench.start("one", "trap 'exit 9' INT; while :; do sleep 0.1; done", FakeRun())
    bench.machine.pause("one")
    assert bench.found("one").state == "paused"
    assert bench.found("one").is_live
    bench.engine.signal(container_id, signal)
    assert bench.ended("one").exit_code not in (0, None)


def test_a_signal_to_what_has_ended_or_never_ran_is_fine(bench: Bench) -> None:
    ended = bench.start("one")
    bench.ended("one")
    bench.engine.signal(ended, "SIGTERM")
    bench.engine.signal(bench.create("two"), "SIGKILL")
    assert bench.found("two").state == "created"


def test_removing_is_final_and_may_be_repeated(bench: Bench) -> None:
    container_id = bench.sleeper("one")
    bench.engine.remove(container_id)
    bench.engine.remove(container_id)
    assert bench.engine.find(bench.name("one")) is None
    assert bench.engine.list() == []


def test_many_may_remove_the_same_container(bench: Bench) -> None:
    container_id = bench.sleeper("one")
    with ThreadPoolExecutor(4) as pool:
        for removal in [pool.submit(bench.engine.remove, container_id) for _ in range(4)]:
            removal.result()
    bench.eventually(lambda: bench.engine.find(bench.name("one")) is None)


def test_what_is_gone_cannot_be_started_signalled_or_read(bench: Bench) -> None:
    container_id = bench.create("one")
    bench.engine.remove(container_id)
    with pytest.raises(ContainerGone):
        bench.engine.start(container_id)
    with pytest.raises(ContainerGone):
        bench.engine.signal(container_id, "SIGTERM")
    with pytest.raises(ContainerGone):
        bench.engine.logs(container_id, None, follow=False)


# --- what it tells of its host ------------------------------------------------------------------------------


def test_it_tells_of_itself_and_its_clock(bench: Bench) -> None:
    began = datetime.now(UTC)
    told = bench.engine.info()
    assert began - timedelta(seconds=1) <= told.at <= datetime.now(UTC) + timedelta(seconds=1)
    assert told.id
    assert told.cpus >= 1
    assert told.memory > 2**20
    assert told.gpus == 0
    assert bench.engine.info().id == told.id


def test_images_are_told_with_all_their_names(bench: Bench) -> None:
    name = f"{bench.machine.registry_name}/team/job:7"
    bench.machine.publish(name)
    bench.engine.pull(name, 30)
    found = {tag.name: tag for tag in bench.engine.images()}
    assert found[name].digest is not None
    assert found[name].created_at <= datetime.now(UTC)
    here = bench.machine.image if ":" in bench.machine.image else f"{bench.machine.image}:latest"
    assert (found[here].digest, found[here].id) == (None, bench.engine.image_digest(here))


def test_a_file_of_the_host_is_read_through_a_container_that_never_runs(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "id").write_bytes(b"the volume\n")
    events = bench.engine.events()
    assert bench.engine.read_file(str(tmp_path), "state/id") == b"the volume\n"
    assert bench.engine.read_file(str(tmp_path), "state/other") is None
    assert bench.engine.read_file(str(tmp_path / "elsewhere"), "state/id") is None
    assert bench.engine.read_file(str(tmp_path), "state") is None
    assert bench.engine.list() == []
    assert not (tmp_path / "elsewhere").exists()
    bench.create("one")
    assert next(iter(events)).job == "one"  # nothing was told of the look
    events.close()


# --- an engine that does not answer ---------------------------------------------------------------------------


def _started(name: str) -> Container:
    now = datetime.now(UTC)
    return Container(
        id="0" * 64, name=name, job="one", generation=1, attempt=1, digest="", state="exited", started_at=now
    )


CALLS: dict[str, Callable[[Engine, Bench], object]] = {
    "ping": lambda engine, bench: engine.ping(),
    "info": lambda engine, bench: engine.info(),
    "read_file": lambda engine, bench: engine.read_file("/", "etc/hostname"),
    "images": lambda engine, bench: engine.images(),
    "list": lambda engine, bench: engine.list(),
    "find": lambda engine, bench: engine.find(bench.name("one")),
    "by_id": lambda engine, bench: engine.by_id("0" * 64),
    "create": lambda engine, bench: engine.create(bench.wanted("one")),
    "start": lambda engine, bench: engine.start("0" * 64),
    "signal": lambda engine, bench: engine.signal("0" * 64, "SIGTERM"),
    "remove": lambda engine, bench: engine.remove("0" * 64),
    "image_digest": lambda engine, bench: engine.image_digest(bench.machine.image),
    "pull": lambda engine, bench: engine.pull("opeva-test/missing:1", 5),
    "ensure_network": lambda engine, bench: engine.ensure_network("bridge"),
    "has_network": lambda engine, bench: engine.has_network("bridge"),
    "logs": lambda engine, bench: engine.logs("0" * 64, None, follow=False),
    "events": lambda engine, bench: engine.events(),
    "restarted_since_start": lambda engine, bench: engine.restarted_since_start(_started("one")),
}


def test_every_method_that_asks_the_engine_is_tried_without_one() -> None:
    # Where this process runs is asked of /proc first: on a bare host no engine is needed to say so.
    assert set(CALLS) == {name for name in vars(Engine) if not name.startswith("_")} - {"host_path"}


@pytest.mark.parametrize("call", CALLS)
def test_an_engine_that_does_not_answer_is_unreachable_and_nothing_else(bench: Bench, call: str) -> None:
    with pytest.raises(EngineUnreachable):
        CALLS[call](bench.machine.unreachable(), bench)


def test_a_killed_container_is_no_sign_of_a_restarted_engine(bench: Bench) -> None:
    container_id = bench.sleeper("one")
    bench.engine.signal(container_id, "SIGKILL")
    assert bench.ended("one").exit_code == 137
    assert not bench.engine.restarted_since_start(bench.found("one"))
