"""A proxy between an operator and its engine that does harm by rule: late, lost, refused, or deadly at one moment.

    with Faultsock(tmp_path / "engine.sock") as sock:
        sock.on("POST /containers/[0-9a-f]+/start", before=operator.kill)   # created, never started

Every request gets a connection of its own (the proxy asks for `Connection: close`), so an answer ends where it ends.
"""

import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 65536


def _nothing() -> None:
    """The harm that a rule without harm does."""


class Refused(Exception):
    """Raised by a rule's `before`: the engine never hears of the request."""


@dataclass(slots=True)
class Rule:
    """What happens to the next `times` requests that match; a path is matched without its version."""

    pattern: re.Pattern[str]
    before: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing
    answer: int | None = None
    drops_answer: bool = False
    times: int = 1
    met: int = 0

    def takes(self, request: str) -> bool:
        """Whether this request is one of them; counts it."""
        if self.met >= self.times or not self.pattern.match(request):
            return False
        self.met += 1
        return True


class Faultsock:
    """Listens on a unix socket; what no rule matches goes through untouched."""

    def __init__(self, path: Path, engine: str = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")) -> None:
        self.host = f"unix://{path}"
        self.asked: list[str] = []
        self._engine = engine.removeprefix("unix://")
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            sockets = [self._listener, *self._open]
        for each in sockets:
            _shut(each)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def on(
        self,
        pattern: str,
        *,
        before: Callable[[], None] = _nothing,
        after: Callable[[], None] = _nothing,
        answer: int | None = None,
        drops_answer: bool = False,
        times: int = 1,
    ) -> Rule:
        """Harm the next matching requests: `before` the engine hears them, or `after` it answered."""
        rule = Rule(re.compile(pattern), before, after, answer, drops_answer, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            with self._lock:
                self._open.add(client)
            with suppress(OSError, Refused):
                self._exchange(client)
            with self._lock:
                self._open.discard(client)

    def _exchange(self, client: socket.socket) -> None:
        head, body = _read_request(client)
        if not head:
            return
        request = re.sub(r"^(\w+) (?:/v[0-9.]+)?(\S+) .*", r"\1 \2", head.splitlines()[0])
        with self._lock:
            self.asked.append(request)
            rule = next((rule for rule in self._rules if rule.takes(request)), None)
        if rule is not None:
            rule.before()
            if rule.answer is not None:
                client.sendall(_refusal(rule.answer))
                return
        self._forward(client, _for_one(head) + body, rule)

    def _forward(self, client: socket.socket, request: bytes, rule: Rule | None) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self._engine)
            with self._lock:
                self._open.add(engine)
            try:
                engine.sendall(request)
                first = engine.recv(_CHUNK)
                if rule is not None:
                    rule.after()
                    if rule.drops_answer:
                        return
                self._run(_until_closed, client, engine)
                while first:
                    client.sendall(first)
                    first = engine.recv(_CHUNK)
            finally:
                _shut(client)
                with self._lock:
                    self._open.discard(engine)


def _read_request(client: socket.socket) -> tuple[str, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = client.recv(_CHUNK)
        if not chunk:
            return "", b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        body += client.recv(_CHUNK)
    return head.decode("latin-1"), body


def _for_one(head: str) -> bytes:
    """The head of a request that asks for the connection to end with the answer."""
    lines = [line for line in head.split("\r\n") if not line.lower().startswith("connection:")]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")


def _refusal(status: int) -> bytes:
    body = b'{"message": "the proxy says no"}'
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def _until_closed(client: socket.socket, engine: socket.socket) -> None:
    """Let the engine know when the client has gone: a stream would be read for ever."""
    with suppress(OSError):
        while client.recv(_CHUNK):
            pass
    _shut(engine)


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
