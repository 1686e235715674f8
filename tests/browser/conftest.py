"""A real browser that can reach this machine only, and an API whose operator is played."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from opeva_api.testing import Stage, staged

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# No name is ever looked up: what needs the internet fails here as it would on a closed network.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


# Not for the whole session: while it lasts, its event loop would be in the way of tests that run their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    found = [path for name in PROGRAMS if (path := shutil.which(name))]
    if not found:
        pytest.fail(f"no browser found: install one of {', '.join(PROGRAMS)}", pytrace=False)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found[0], args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab with a cache of its own."""
    context = browser.new_context()
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


class _Blank(http.server.BaseHTTPRequestHandler):
    """An empty page, whatever is asked for."""

    def do_GET(self) -> None:
        body = b"<!doctype html><title>a web client</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def origin() -> Iterator[str]:
    """The address of a web server of somebody else."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.05))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def client_origin() -> Iterator[str]:
    """Where the web client that may call the API comes from."""
    with origin() as address:
        yield address


@pytest.fixture
def other_origin() -> Iterator[str]:
    """Where a web client that may not call the API comes from."""
    with origin() as address:
        yield address


@pytest.fixture
def stage(tmp_path: Path, client_origin: str) -> Iterator[Stage]:
    """The API, its operator alive."""
    with staged(tmp_path, cors_origins=[client_origin]) as found:
        found.operator.beats()
        found.eventually(lambda: found.get("/health").json()["status"] == "ok")
        yield found
