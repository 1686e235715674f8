"""The Docker Engine as `Engine` promises it: the only file that knows the Docker library.

Every error of the library passes `translated`. Calls have a timeout; streams are read until they end, break, fall
silent or are closed.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import docker
import requests
import urllib3
from docker import auth, errors
from docker.utils import kwargs_from_env, parse_repository_tag

from opeva_specs.hostsfile import LOCAL, HostEntry

from . import docker_json, docker_probe
from .docker_answers import kind_of_answer, pull_failed, root_cause
from .docker_streams import FrameStream, JsonEvents, Source, first_error, keep_alive, lines
from .engine import (
    INSTANCE,
    JOB,
    Container,
    ContainerGone,
    ContainerSpec,
    EngineError,
    EngineInfo,
    EngineUnreachable,
    EventStream,
    ImageMissing,
    ImageTag,
    LogStream,
    PathMissing,
    PullFailed,
)
from .ssh_tunnel import SshTunnel
from .whereabouts import own_container_id

CONNECTIONS = 32
SILENCE_SECONDS = 60.0  # a frozen engine and one without news look alike: end the stream, the caller looks
ACTIONS = ("create", "start", "die", "oom", "destroy", "pause", "unpause", "rename")

HERE = HostEntry(name=LOCAL)
_BROKEN = (OSError, urllib3.exceptions.HTTPError, requests.RequestException)


class _DirectClient(docker.APIClient):
    """Takes no proxy from the environment, and no authority, which requests would put in the place of the given one."""

    trust_env = property(lambda self: False, lambda self, value: None)


class DockerEngine:
    """One Docker Engine, seen by one instance; it connects at the first call, so it can be made while none answers.

    It is where the entry `at` of a hosts file says, else at `docker_host`, else where the docker command finds it.
    """

    def __init__(
        self, instance: str, *, docker_host: str | None = None, timeout_seconds: float = 30.0, at: HostEntry = HERE
    ) -> None:
        self._instance, self._ours = instance, f"{INSTANCE}={instance}"
        self._tls, self._timeout_seconds = at.tls, timeout_seconds
        url = at.url or docker_host or os.environ.get("DOCKER_HOST", "")
        self._environ = {**({} if at.url else os.environ), "DOCKER_HOST": url}
        self._tunnel = SshTunnel(url, at.ssh) if url.startswith("ssh://") else None
        self._connecting = threading.Lock()
        self._connected: docker.APIClient | None = None

    @property
    def _client(self) -> docker.APIClient:
        with self._connecting:
            if self._tunnel is not None:
                self._environ["DOCKER_HOST"] = f"unix://{self._tunnel.ensure()}"
            self._connected = self._connected or self._connect()
            return self._connected

    def _connect(self) -> docker.APIClient:
        given: dict[str, Any] = {**kwargs_from_env(self._environ), "timeout": self._timeout_seconds}
        if self._tls is not None:
            given["tls"] = docker.tls.TLSConfig((self._tls.cert, self._tls.key), ca_cert=self._tls.ca, verify=True)
        return _DirectClient(version="auto", max_pool_size=CONNECTIONS, **given)

    def close(self) -> None:
        """Give the connections back; the next call makes new ones."""
        with self._connecting:
            if self._connected is not None:
                self._connected.close()
                self._connected = None
            if self._tunnel is not None:
                self._tunnel.close()

    def ping(self) -> None:
        """Return when the engine answers; raise EngineUnreachable otherwise."""
        try:
            with translated("reach the engine"):
                self._client.get(self._url("/_ping"), timeout=min(10, self._timeout_seconds)).raise_for_status()
        except EngineUnreachable:
            if self._connected is not None:
                self._connected.close()  # those that nobody uses may be dead as well, and each would be waited for
            raise

    def info(self) -> EngineInfo:
        """What the engine tells of itself and its machine."""
        with translated("ask the engine about itself"):
            return docker_json.engine_info(self._client.info())

    def read_file(self, folder: str, path: str) -> bytes | None:
        """A small file in a folder of the engine's host; None: there is no such folder or file."""
        name = docker_probe.container_name(self._instance)
        self.remove(name)  # from before a crash
        try:
            with translated(f"look into {folder} on the engine's host"):
                if self.image_digest(docker_probe.IMAGE) is None:
                    self._client.import_image_from_data(docker_probe.EMPTY_TAR, *docker_probe.IMAGE.split(":"))
                body = docker_probe.creation(self._instance, folder)
                self._client.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
                return docker_probe.content(self._client.get_archive(name, f"{docker_probe.FOLDER}/{path}")[0])
        except PathMissing:
            return None
        finally:
            self.remove(name)

    def list(self) -> list[Container]:
        """Every container of this instance, from one listing."""
        with translated("list containers"):
            rows = self._client.containers(all=True, filters={"label": [self._ours, JOB]})
            return [docker_json.from_listing(row, self._instance) for row in rows]

    def find(self, name: str) -> Container | None:
        """The container of that name with all it knows; None means surely gone."""
        found = self.by_id(name)  # Docker takes the beginning of an id for a name, and a name for an id
        return found if found is not None and found.name == name else None

    def by_id(self, container_id: str) -> Container | None:
        """The container of that id; None means surely gone."""
        with contextlib.suppress(ContainerGone):
            return self._inspect(container_id)
        return None

    def create(self, wanted: ContainerSpec) -> str:
        """Create it, not started; the id."""
        with translated(f"create container {wanted.name!r}"):
            body = docker_json.creation(wanted, self._instance)
            made = self._client.create_container_from_config(body, wanted.name)  # type: ignore[no-untyped-call]
            return str(made["Id"])

    def start(self, container_id: str) -> None:
        """Start it; fine if it runs already."""
        with translated(f"start container {container_id[:12]}"), _fine_if("start a paused container"):
            try:
                self._client.start(container_id)
            except errors.APIError as error:
                # A server error may be the container's own: then the engine has written down why it did not start.
                if error.is_server_error() and (words := self._inspect(container_id).error):
                    raise EngineError(f"cannot start container {container_id[:12]}: {words}") from error
                raise

    def signal(self, container_id: str, signal: str) -> None:
        """Send a signal, waking a paused container; fine if it has ended."""
        with translated(f"signal container {container_id[:12]}"), _fine_if("is not running"):
            self._client.kill(container_id, signal)
        if self._inspect(container_id).state == "paused":  # Docker wakes it for some signals only
            is_awake = _fine_if("is not paused", "stopped container", "running process")
            with translated(f"wake container {container_id[:12]}"), is_awake:
                self._client.unpause(container_id)

    def remove(self, container_id: str) -> None:
        """Remove it with its anonymous volumes, killing it if need be; fine if it is gone."""
        with contextlib.suppress(ContainerGone), translated(f"remove container {container_id[:12]}"):
            with _fine_if("already in progress"):
                self._client.remove_container(container_id, v=True, force=True)

    def image_digest(self, image: str) -> str | None:
        """What the reference means on this host now; None if it is not here."""
        try:
            with translated(f"look at image {image!r}"):
                found = self._client.inspect_image(image)  # type: ignore[no-untyped-call]
                return docker_json.resolved_digest(image, found)
        except ImageMissing:
            return None

    def images(self) -> Sequence[ImageTag]:
        """Every name of an image on this host."""
        with translated("list images"):
            return [tag for row in self._client.images() for tag in docker_json.image_tags(row)]

    def pull(self, image: str, timeout_seconds: float) -> None:
        """Fetch the image (`latest` when no tag is named); the deadline is kept whatever the registry does."""
        repository, tag = parse_repository_tag(image)
        with translated(f"pull {image!r}"):
            try:
                response = self._client.post(
                    self._url("/images/create"),
                    params={"fromImage": repository, "tag": tag or "latest"},
                    headers=self._credentials(image, repository),
                    stream=True,
                    timeout=(self._timeout_seconds, timeout_seconds),
                )
                _raise_for_status(response)
                self._follow_pull(image, Source(response, _BROKEN), timeout_seconds)
            except errors.APIError as error:
                raise pull_failed(image, _words(error)) from error
            except requests.ReadTimeout as error:
                raise pull_failed(image, f"not here after {timeout_seconds:g} s") from error

    def _credentials(self, image: str, repository: str) -> dict[str, str | bytes]:
        try:
            self._client.reload_config()  # somebody may have logged in since
            header = auth.get_config_header(self._client, auth.resolve_repository_name(repository)[0])
        except errors.InvalidRepository as error:
            raise PullFailed("not found", f"cannot pull {image!r}: {error}") from error
        except errors.DockerException as error:
            raise PullFailed("unauthorised", f"cannot read the credentials for {image!r}: {error}") from error
        return {"X-Registry-Auth": header} if header else {}

    def _follow_pull(self, image: str, source: Source, timeout_seconds: float) -> None:
        if words := first_error(source, timeout_seconds):
            raise pull_failed(image, words)
        if not source.is_complete:
            self.ping()  # an engine that died in the middle tells nothing about the image
            raise pull_failed(image, f"not here after {timeout_seconds:g} s")

    def ensure_network(self, network: str) -> None:
        """Create the network (a bridge) when it is missing."""
        with translated(f"create network {network!r}"), _fine_if("already exists"):
            if not self._networks_named(network):
                self._client.create_network(network, driver="bridge", check_duplicate=True)
            for double in self._networks_named(network)[1:]:  # Docker's check is no lock: the older one stays
                with contextlib.suppress(errors.APIError):  # in use, or gone
                    self._client.remove_network(double["Id"])

    def has_network(self, network: str) -> bool:
        """Whether there is a network of that name."""
        with translated("list networks"):
            return bool(self._networks_named(network))

    def _networks_named(self, network: str) -> Sequence[dict[str, Any]]:
        found = self._client.networks(names=[network])  # Docker's filter takes parts of a name, too
        found.sort(key=lambda row: docker_json.since_parameter(row["Created"]))
        return [row for row in found if row["Name"] == network]

    def logs(self, container_id: str, since: str | None, *, follow: bool) -> LogStream:
        """stdout and stderr in the engine's order, from `since` (an entry's `at`, inclusive) on."""
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": str(int(follow))}
        if since is not None:
            params["since"] = docker_json.since_parameter(since)
        with translated(f"read the log of container {container_id[:12]}"):
            silence = None if follow else self._timeout_seconds
            source = self._open(f"/containers/{container_id}/logs", params, silence)
            return FrameStream(source, must_be_whole=not follow)

    def events(self) -> EventStream:
        """Events of this instance's containers from now on; ends after a minute of silence."""
        filters = {"label": [self._ours, JOB], "type": ["container"], "event": [*ACTIONS]}
        with translated("watch events"):
            return JsonEvents(self._open("/events", {"filters": json.dumps(filters)}, SILENCE_SECONDS))

    def restarted_since_start(self, container: Container) -> bool:
        """Whether there is evidence that the engine itself was restarted after that container was started."""
        if container.started_at is None:
            return False
        with translated("look for a restart of the engine"):
            # Docker makes this network anew whenever it starts, and nobody else can; some engines run without it.
            if not (made := self._networks_named("bridge")):
                return self._has_forgotten(container)
            made_at = docker_json.instant(made[0]["Created"])
        ended_at = container.finished_at  # what outlived the restart did not end by it
        return made_at is not None and made_at > container.started_at and (ended_at is None or ended_at <= made_at)

    def _has_forgotten(self, container: Container) -> bool:
        """Whether the engine's memory of events, which dies with it, is complete and lacks this container's start."""
        params = {"since": "0", "until": docker_json.since_parameter(self._client.info()["SystemTime"])}
        kept = self._client.get(self._url("/events"), params=params, timeout=self._timeout_seconds)
        _raise_for_status(kept)
        return docker_json.lacks_start(lines([kept.content]), container.id)

    def host_path(self, path: str) -> str | None:
        """If this process runs in a container of this engine: the host's path of what is mounted at `path`."""
        own_id = own_container_id()
        if own_id is None:
            return None
        try:
            with translated("look at the container that this process runs in"):
                return docker_json.host_source(path, self._client.inspect_container(own_id)["Mounts"])
        except ContainerGone:
            return None  # a container of another engine

    def _inspect(self, container_id: str) -> Container:
        with translated(f"look at container {container_id[:80]!r}"):
            return docker_json.from_inspection(self._client.inspect_container(container_id), self._instance)

    def _url(self, path: str) -> str:
        return f"{self._client.base_url}/v{self._client.api_version}{path}"

    def _open(self, path: str, params: dict[str, str], silence_seconds: float | None) -> Source:
        response = self._client.get(self._url(path), params=params, stream=True, timeout=self._timeout_seconds)
        _raise_for_status(response)
        if sock := getattr(response.raw.connection, "sock", None):  # none where a proxy closes after each answer
            sock.settimeout(silence_seconds)  # the limit so far was for the beginning of the answer
            keep_alive(sock)
        return Source(response, _BROKEN)


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn every error of the Docker library, and of what is beneath it, into one of `engine`'s."""
    try:
        yield
    except (errors.DockerException, errors.StreamParseError, json.JSONDecodeError, *_BROKEN) as error:
        raise engine_error(error, doing) from error


def engine_error(error: Exception, doing: str) -> EngineError:
    """The error of ours that says what is known after this one."""
    if isinstance(error, errors.APIError):
        return kind_of_answer(error.status_code or 500, _words(error))(f"cannot {doing}: {_words(error)}")
    if isinstance(error, _MISUSED):
        return EngineError(f"cannot {doing}: {error}")
    return EngineUnreachable(f"cannot {doing}: {root_cause(error)}")


# The library refused by itself: to wait for the engine would be in vain.
_MISUSED = (errors.InvalidRepository, errors.InvalidArgument, errors.DeprecatedMethod, errors.NullResource)


def _words(error: errors.APIError) -> str:
    return str(error.explanation or error).strip()


def _raise_for_status(response: requests.Response) -> None:
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        errors.create_api_error_from_http_exception(error)


@contextlib.contextmanager
def _fine_if(*signs: str) -> Iterator[None]:
    """Go on when Docker refuses in these words: what was wanted is so already."""
    try:
        yield
    except errors.APIError as error:
        if not any(sign in _words(error) for sign in signs):
            raise
