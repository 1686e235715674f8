"""Whom the engine's client trusts over TLS and ssh, and what it notices of a connection that died."""

import socket
from pathlib import Path

import pytest
from tests.contract.doors import SshDoor, TlsDoor

from opeva_operator.docker_engine import DockerEngine
from opeva_operator.engine import EngineUnreachable
from opeva_specs.hostsfile import HostEntry, Tls

pytestmark = pytest.mark.docker


def engine_with(door: TlsDoor, tls: Tls) -> DockerEngine:
    at = door.entry("trust", "/nowhere").model_copy(update={"tls": tls})
    return DockerEngine("trust", timeout_seconds=5, at=at)


def test_the_authority_of_the_hosts_file_is_the_one_that_counts(
    tls_door: TlsDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, strange = tls_door.files(), str(tls_door.folder / "client-ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", strange)
    engine = engine_with(tls_door, right)
    engine.ping()
    engine.close()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", right.ca)
    engine = engine_with(tls_door, right.model_copy(update={"ca": strange}))
    with pytest.raises(EngineUnreachable, match="certificate verify failed"):
        engine.ping()
    engine.close()


def test_a_certificate_of_ours_that_the_engine_does_not_take_or_that_is_missing_is_told(tls_door: TlsDoor) -> None:
    right, strange = tls_door.files(), tls_door.files("server")
    engine = engine_with(tls_door, strange)
    with pytest.raises(EngineUnreachable, match="cannot reach the engine"):
        engine.ping()
    engine.close()
    engine = engine_with(tls_door, right.model_copy(update={"key": "/nowhere/client.key"}))
    with pytest.raises(EngineUnreachable, match="certificate and key files must be provided"):
        engine.ping()


def test_an_unknown_host_key_is_not_trusted(ssh_door: SshDoor, tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    entry: HostEntry = ssh_door.entry("trust", "/nowhere")
    assert entry.ssh is not None
    ssh = entry.ssh.model_copy(update={"known_hosts": str(tmp_path / "known")})
    engine = DockerEngine("trust", timeout_seconds=5, at=entry.model_copy(update={"ssh": ssh}))
    with pytest.raises(EngineUnreachable, match="Host key verification failed"):
        engine.ping()
    engine.close()


def test_a_stream_over_a_network_notices_that_the_other_machine_is_gone(tls_door: TlsDoor) -> None:
    engine = DockerEngine("alive", timeout_seconds=5, at=tls_door.entry("alive", "/nowhere"))
    stream = engine.events()
    (source,) = [part for part in vars(stream).values() if hasattr(part, "is_complete")]
    sock = source._response.raw.connection.sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    stream.close()
    engine.close()
