"""A registry of container images on the loopback interface: small, and as slow or strict as a test wants it."""

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """Serves what was published; with `password` only to those who know it, with `slow()` without ever getting done."""

    def __init__(self, password: str | None = None) -> None:
        self.password = password
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.name = f"127.0.0.1:{self._server.server_port}"

    def publish(self, image: str) -> str:
        """Offer a tiny image under `repository:tag`; the digest of its manifest."""
        repository, _, tag = image.partition(":")
        layer = _layer(f"{image} of {self.name}")  # what another test pulled must not look like ours
        config = _json(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            }
        )
        packed = gzip.compress(layer, mtime=0)
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": self._blob("application/vnd.docker.container.image.v1+json", config),
                "layers": [self._blob("application/vnd.docker.image.rootfs.diff.tar.gzip", packed)],
            }
        )
        for reference in (tag, _digest(manifest)):
            self.manifests[f"{repository}/manifests/{reference}"] = manifest
        return _digest(manifest)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Stop in the middle of every layer meanwhile."""
        self.go_on.clear()
        try:
            yield
        finally:
            self.go_on.set()

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _blob(self, kind: str, content: bytes) -> dict[str, Any]:
        self.blobs[_digest(content)] = content
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.asked.append(self.path)
                self.answer(*registry.answer(self.path, self.headers.get("Authorization")))

            do_HEAD = do_GET

            def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                half = len(content) // 2
                # Who pulls may go away in the middle.
                with suppress(OSError):
                    self.wfile.write(content[:half])
                    if "/blobs/" in self.path:
                        registry.go_on.wait(60)
                    self.wfile.write(content[half:])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
                pass

            def log_error(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        """What the registry says to a request: status, headers, content."""
        if self.password is not None and authorization != _basic("someone", self.password):
            refusal = _refusal("UNAUTHORIZED", "authentication required")
            return 401, {"WWW-Authenticate": 'Basic realm="test"', "Content-Type": "application/json"}, refusal
        if path == "/v2/":
            return 200, {}, b"{}"
        manifest = self.manifests.get(path.removeprefix("/v2/"))
        if manifest is not None:
            return 200, {"Content-Type": _MANIFEST, "Docker-Content-Digest": _digest(manifest)}, manifest
        blob = re.search(r"/blobs/(sha256:[0-9a-f]{64})$", path)
        if blob and blob[1] in self.blobs:
            return 200, {"Content-Type": "application/octet-stream"}, self.blobs[blob[1]]
        return 404, {"Content-Type": "application/json"}, _refusal("MANIFEST_UNKNOWN", "manifest unknown")


def _layer(marker: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("opeva-test-image")
        entry.size = len(marker)
        archive.addfile(entry, io.BytesIO(marker.encode()))
    return packed.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _refusal(code: str, message: str) -> bytes:
    return _json({"errors": [{"code": code, "message": message, "detail": {}}]})
