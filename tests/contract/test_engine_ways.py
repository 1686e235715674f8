"""The contract on the Docker engine as it is reached from another machine: over TLS, and over ssh."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.contract import test_engine, test_engine_streams
from tests.contract.machines import Bench, DockerMachine
from tests.contract.ways import Certificates, Sshd, TlsDoor

from opeva_operator.docker_engine import DockerEngine
from opeva_operator.engine import EngineUnreachable
from opeva_specs.hostsfile import HostEntry, Ssh, Tls

pytestmark = pytest.mark.docker

SOCKET = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")).path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "made")


@pytest.fixture(scope="module")
def ways(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, HostEntry]]:
    """The entries of a hosts file that lead to the machine's own engine."""
    with ExitStack() as opened:
        door = TlsDoor(SOCKET, certificates)
        opened.callback(door.close)
        sshd = Sshd(tmp_path_factory.mktemp("ssh") / "made")
        opened.callback(sshd.close)
        tls, ssh = Tls(**certificates.tls()), Ssh.model_validate(sshd.ssh())
        yield {
            "tls": HostEntry(name="tls", url=f"tcp://127.0.0.1:{door.port}", shared_data="/", tls=tls),
            "ssh": HostEntry(name="ssh", url=f"ssh://127.0.0.1:{sshd.port}{SOCKET}", shared_data="/", ssh=ssh),
        }


@pytest.fixture(params=["tls", "ssh"])
def bench(request: pytest.FixtureRequest, ways: dict[str, HostEntry], busybox: str, tmp_path: Path) -> Iterator[Bench]:
    machine = DockerMachine(busybox, tmp_path / "nobody.sock", ways[request.param])
    try:
        yield Bench(machine)
    finally:
        machine.close()


test_identity = test_engine.test_the_listing_tells_the_same_identity
test_exit_code = test_engine.test_an_exit_code_is_told_as_it_was
test_name_taken = test_engine.test_of_many_who_create_the_same_name_one_wins
test_image_missing = test_engine.test_a_missing_image_is_named_and_leaves_nothing_behind
test_network_missing = test_engine.test_a_missing_network_is_named_and_leaves_a_container_that_never_ran
test_pull = test_engine.test_a_pulled_image_is_here
test_signal = test_engine.test_who_ignores_term_is_killed
test_gone = test_engine.test_what_is_gone_cannot_be_started_signalled_or_read
test_info = test_engine.test_an_engine_tells_of_its_machine_and_what_its_clock_says
test_read_file = test_engine.test_a_file_on_the_engines_host_is_read_as_a_container_sees_it
test_log = test_engine_streams.test_a_log_is_complete_with_long_lines_and_bad_text
test_follow = test_engine_streams.test_following_ends_with_the_container_and_misses_nothing
test_resume = test_engine_streams.test_a_log_resumes_at_an_entry


def test_an_authority_that_the_environment_names_does_not_take_the_given_ones_place(
    ways: dict[str, HostEntry], certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = Certificates(tmp_path / "strange")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(strange.ca))
    engine = DockerEngine("trust", timeout_seconds=5, at=ways["tls"])
    engine.ping()
    engine.close()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca))
    wrong = Tls(**(certificates.tls() | {"ca": str(strange.ca)}))
    engine = DockerEngine("trust", timeout_seconds=5, at=ways["tls"].model_copy(update={"tls": wrong}))
    with pytest.raises(EngineUnreachable, match="certificate verify failed"):
        engine.ping()
    engine.close()


def test_a_certificate_of_ours_that_the_engine_does_not_take_is_told(
    ways: dict[str, HostEntry], certificates: Certificates, tmp_path: Path
) -> None:
    strange = Certificates(tmp_path / "strange").tls() | {"ca": str(certificates.ca)}
    engine = DockerEngine("trust", timeout_seconds=5, at=ways["tls"].model_copy(update={"tls": Tls(**strange)}))
    with pytest.raises(EngineUnreachable, match="cannot reach the engine"):
        engine.ping()
    missing = Tls(**(certificates.tls() | {"key": str(tmp_path / "none.key")}))
    engine = DockerEngine("trust", timeout_seconds=5, at=ways["tls"].model_copy(update={"tls": missing}))
    with pytest.raises(EngineUnreachable, match="certificate and key files must be provided"):
        engine.ping()


def test_an_unknown_host_key_is_not_trusted(ways: dict[str, HostEntry], tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    ssh = ways["ssh"].ssh
    assert ssh is not None
    nobody = ways["ssh"].model_copy(update={"ssh": ssh.model_copy(update={"known_hosts": str(tmp_path / "known")})})
    engine = DockerEngine("trust", timeout_seconds=5, at=nobody)
    with pytest.raises(EngineUnreachable, match="Host key verification failed"):
        engine.ping()
    engine.close()


def test_a_stream_over_a_network_notices_that_the_other_machine_is_gone(ways: dict[str, HostEntry]) -> None:
    engine = DockerEngine("alive", timeout_seconds=5, at=ways["tls"])
    stream = engine.events()
    (source,) = [part for part in vars(stream).values() if hasattr(part, "is_complete")]
    sock = source._response.raw.connection.sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    stream.close()
    engine.close()
