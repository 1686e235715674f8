"""The API, as the command sees it: one method per endpoint, and every failure one sentence."""

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from opeva_cli.errors import CommandError

DEFAULT_SERVER = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 15.0


class Client:
    """Talks to one server; `transport` stands in for the network in tests."""

    def __init__(self, server: str, transport: httpx.BaseTransport | None = None) -> None:
        self._server = server.rstrip("/")
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS, transport=transport, trust_env=False)

    def run(self, body: dict[str, Any]) -> dict[str, Any]:
        """Submit a job; what the server accepted."""
        return _mapping(self._json("POST", "/run-simulation", json=body))

    def jobs(self, limit: int, status: str | None) -> list[dict[str, Any]]:
        """The newest jobs, newest first."""
        query = {"limit": str(limit)} | ({"status": status} if status else {})
        found = self._json("GET", "/jobs", params=query)
        if not isinstance(found, list):
            raise CommandError("cannot understand the server's answer: it is no list of jobs")
        return [_mapping(job) for job in found]

    def status(self, job_id: str) -> dict[str, Any]:
        """What the server says of a job."""
        return _mapping(self._json("GET", f"/status/{quote(job_id, safe='')}"))

    def explain(self, job_id: str) -> dict[str, Any]:
        """Why a job waits, or how it is."""
        return _mapping(self._json("GET", f"/explain/{quote(job_id, safe='')}"))

    def explain_spec(self, job: dict[str, Any]) -> dict[str, Any]:
        """What would be in the way of a job that is not submitted yet."""
        return _mapping(self._json("POST", "/specs/explain", json=job))

    def stop(self, job_id: str) -> str:
        """Ask for an end; the server's message."""
        return str(_mapping(self._json("POST", f"/stop/{quote(job_id, safe='')}")).get("message", "stop requested"))

    def delete(self, job_id: str) -> str:
        """Forget an ended job and its files; the server's message."""
        return str(_mapping(self._json("DELETE", f"/job/{quote(job_id, safe='')}")).get("message", "deleted"))

    def logs(self, job_id: str, *, tail: int | None, follow: bool) -> Iterator[str]:
        """The log, piece by piece; with `follow` until the job ends."""
        query = ({"tail": str(tail)} if tail is not None else {}) | ({"follow": "true"} if follow else {})
        timeout = httpx.Timeout(TIMEOUT_SECONDS, read=None if follow else TIMEOUT_SECONDS)
        address = f"{self._server}/logs/{quote(job_id, safe='')}"
        with self._told(), self._http.stream("GET", address, params=query, timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
                raise CommandError(_detail(answer))
            yield from answer.iter_text()

    def _json(self, method: str, path: str, **given: Any) -> Any:
        with self._told():
            answer = self._http.request(method, self._server + path, **given)
        if answer.is_error:
            raise CommandError(_detail(answer))
        try:
            return answer.json()
        except ValueError as error:
            raise CommandError(f"cannot understand the answer of {self._server}: it is not JSON") from error

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise CommandError(
                f"cannot reach {self._server}: start the service with 'opeva up', or name its address with --server"
            ) from error
        except httpx.TimeoutException as error:
            raise CommandError(f"cannot wait longer: {self._server} did not answer in {TIMEOUT_SECONDS:g} s") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise CommandError(f"cannot use {self._server!r} as a server: write it like {DEFAULT_SERVER}") from error
        except httpx.HTTPError as error:
            raise CommandError(f"cannot talk to {self._server}: {error or type(error).__name__}") from error


def _mapping(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise CommandError("cannot understand the server's answer: it is no mapping")
    return found


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"the server answered {answer.status_code} {answer.reason_phrase}".rstrip()
    return str(detail)
