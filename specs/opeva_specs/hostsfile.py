"""The file that OPEVA_HOSTS names: Docker hosts beside the operator's own.

    hosts:
      - name: tower
        url: ssh://opeva@tower.example      # or tcp://tower.example:2376 with tls, or unix:///run/other.sock
        sharedData: /mnt/opeva_shared_data  # the shared volume, as that host sees it
        labels: {room: basement}
        capacity: {cpu: 30, memory: 120Gi, gpu: 2, jobs: 8}

The host `local` is always there; in the file it may get labels and a capacity.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from opeva_specs.model import Cpu, Labels, Memory, Name
from opeva_specs.yamltree import Mark, Tree, YamlError, read_trees

LOCAL = "local"
_WRONG_KIND = {"string_type": "text", "int_type": "a whole number", "tuple_type": "a list", "model_type": "a mapping"}
_SSH_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # the ssh program must never take one for an option


class HostsFileError(ValueError):
    """The hosts file cannot be used; the message says which file, which line and field, and what to write."""


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/") or not path.isprintable():
        raise ValueError("must be an absolute path, such as '/opt/opeva_shared_data'")
    return path.rstrip("/") or "/"


def _reachable(url: str) -> str:
    """A URL of one of the three kinds, with all that its kind needs."""
    parts = _split(url)
    match parts.scheme:
        case "unix" if not parts.netloc and parts.path.startswith("/"):
            return url
        case "tcp" if parts.hostname and parts.port and parts.username is None and parts.path in ("", "/"):
            return url
        case "ssh" if _is_ssh(parts):
            return url
    raise ValueError("must be like 'unix:///run/docker.sock', 'tcp://tower:2376' or 'ssh://user@tower:22'")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from error
    if parts.query or parts.fragment:
        raise ValueError("must end with the host, the port or the path of the socket")
    return parts


def _is_ssh(parts: SplitResult) -> bool:
    """A path, if there is one, is that of the engine's socket there; a password has no place in a file."""
    words = [parts.hostname or "", *([parts.username] if parts.username is not None else [])]
    return parts.password is None and all(_SSH_WORD.fullmatch(word) for word in words)


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Url = Annotated[str, AfterValidator(_reachable)]


class HostCapacity(_Strict):
    """What the jobs on a host may take together; what is not written is what its engine tells."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    gpu: Annotated[int, Field(ge=0)] | None = None
    jobs: Annotated[int, Field(ge=1)] | None = None


class Tls(_Strict):
    """Files: the authority that signed the host's certificate, and our own certificate with its key."""

    ca: AbsolutePath
    cert: AbsolutePath
    key: AbsolutePath


class Ssh(_Strict):
    """Files for the ssh program; what is not written, it takes from the user that the operator runs as."""

    key: AbsolutePath | None = None
    known_hosts: AbsolutePath | None = None


class HostEntry(_Strict):
    """One host of the file."""

    name: Name
    url: Url | None = None
    shared_data: AbsolutePath | None = None
    labels: Labels = Field(default_factory=dict)
    capacity: HostCapacity = HostCapacity()
    tls: Tls | None = None
    ssh: Ssh | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.name == LOCAL:
            if self.url or self.shared_data or self.tls or self.ssh:
                raise ValueError(
                    "the host 'local' is the operator's own: DOCKER_HOST and OPEVA_SHARED_DATA_HOST say where it is; "
                    "here it may have only labels and capacity"
                )
            return self
        if self.url is None or self.shared_data is None:
            raise ValueError("needs 'url' and 'sharedData', the path of the shared volume on that host")
        scheme = urlsplit(self.url).scheme
        if self.tls is not None and scheme != "tcp":
            raise ValueError("'tls' goes with a url that starts with 'tcp://'")
        if self.ssh is not None and scheme != "ssh":
            raise ValueError("'ssh' goes with a url that starts with 'ssh://'")
        if scheme == "tcp" and self.tls is None and not _is_loopback(urlsplit(self.url).hostname or ""):
            raise ValueError(
                "needs 'tls' with 'ca', 'cert' and 'key': whoever reaches an engine without it is root there"
            )
        return self

    @property
    def is_on_this_machine(self) -> bool:
        """Whether its engine is surely one of the machine that the operator runs on."""
        return self.url is not None and self.url.startswith("unix://")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HostsFile(_Strict):
    """All hosts of the file, in its order."""

    hosts: tuple[HostEntry, ...] = Field((), strict=False)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [host.name for host in self.hosts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the name {twice!r} stands here twice: give each host its own")
        urls = [host.url for host in self.hosts if host.url is not None]
        same = next((url for url in urls if urls.count(url) > 1), None)
        if same is not None:
            raise ValueError(f"the url {same!r} stands here twice: its places would be given away twice")
        return self

    @property
    def local(self) -> HostEntry:
        """What the file says of the operator's own host."""
        return next((host for host in self.hosts if host.name == LOCAL), HostEntry(name=LOCAL))

    @property
    def others(self) -> tuple[HostEntry, ...]:
        """All hosts but the operator's own."""
        return tuple(host for host in self.hosts if host.name != LOCAL)


def read_hosts(path: str | None) -> HostsFile:
    """The hosts of a file (none without one); raises HostsFileError."""
    if path is None:
        return HostsFile()
    try:
        return parse_hosts(Path(path).read_bytes())
    except OSError as error:
        raise HostsFileError(f"cannot read {path}, which OPEVA_HOSTS names: {error.strerror}") from error
    except HostsFileError as error:
        raise HostsFileError(f"cannot use {path}, which OPEVA_HOSTS names: {error}") from error


def parse_hosts(data: bytes) -> HostsFile:
    """The hosts of a file's bytes; raises HostsFileError with the line and the field."""
    try:
        trees = read_trees(data)
    except YamlError as error:
        raise HostsFileError(f"line {error.line}: {error.message}") from error
    if not trees or trees[0].value is None:
        return HostsFile()
    if len(trees) > 1 or not isinstance(trees[0].value, dict):
        raise HostsFileError("write one mapping with the field 'hosts'")
    try:
        return HostsFile.model_validate(trees[0].value)
    except ValidationError as error:
        raise HostsFileError(_sentence(trees[0], error.errors(include_url=False)[0])) from error


def _sentence(tree: Tree, detail: ErrorDetails) -> str:
    path = detail["loc"]
    marks = tree.keys if detail["type"] == "extra_forbidden" else tree.marks
    at = path
    while at and at not in marks:
        at = at[:-1]
    line = marks.get(at, Mark(line=1, column=1)).line
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"line {line}: {field + ': ' if field else ''}{_words(detail)}"


def _words(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "is not a field here"
    if kind == "missing":
        return "is missing"
    if kind in _WRONG_KIND:
        return f"must be {_WRONG_KIND[kind]}"
    return detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
