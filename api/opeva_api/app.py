"""The application, and the process that serves it."""

import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from opeva_api import artefacts, configs, datasets, health, hosts, images, jobs, logs, ops, specs, waiting
from opeva_api.docs import DocumentedAPI
from opeva_api.edge import Edge
from opeva_api.errors import add_handlers
from opeva_api.services import Services
from opeva_specs.settings import Settings, SettingsError, load_settings

logger = logging.getLogger("opeva_api")

OUR_FOLDERS = ("specs/api", "control", "configs", "datasets")
PREFLIGHT_SECONDS = 86400
GRACEFUL_SECONDS = 5
MAX_CONNECTIONS = 2000
_EXPOSED = (
    "X-Opeva-Heartbeat-Age", "X-Total-Count", "X-Opeva-Log-Source", "X-Opeva-Log-Offset", "X-Opeva-Log-Next-Offset",
    "X-Opeva-Log-Reset", "Content-Disposition",
)  # fmt: skip


def create_app(settings: Settings) -> FastAPI:
    """The API of one volume; nothing is read or written before it is started."""
    services = Services(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        make_folders(services)
        async with services.feed.running():
            logger.info("serving %d jobs of %s", len(services.index), settings.shared_data)
            yield

    app = DocumentedAPI(
        title="OPEVA jobs",
        description=health.ABOUT,
        version="0.2.0",
        lifespan=lifespan,
        redirect_slashes=False,
        middleware=[_cors(settings), Middleware(Edge, heart=services.heart)],
    )
    app.state.services = services
    add_handlers(app)
    for module in (jobs, logs, waiting, ops, artefacts, configs, datasets, images, hosts, specs, health):
        app.include_router(module.router)
    return app


def make_folders(services: Services) -> None:
    """Create what this service writes to, where it may; where it may not, whoever writes is told."""
    for folder in OUR_FOLDERS:
        try:
            with services.volume.folder(folder, create=True):
                pass
        except OSError as error:
            logger.warning("cannot open %s/%s: %s", services.volume.root, folder, error.strerror)
    services.datasets.sweep()


def _cors(settings: Settings) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["Content-Type", "Idempotency-Key"],
        expose_headers=list(_EXPOSED),
        max_age=PREFLIGHT_SECONDS,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that notices clients who vanished without a word, so that none is followed for for ever."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    found.bind((host, port))
    return found


def main() -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = load_settings()
        settings.shared_data.mkdir(parents=True, exist_ok=True)
        bound = listen(settings.api_host, settings.api_port)
    except SettingsError as error:
        sys.exit(f"opeva-api: {error}")
    except OSError as error:
        sys.exit(f"opeva-api: cannot start: {error}")
    logger.info("listening on http://%s:%d", *bound.getsockname()[:2])
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_keep_alive=30,
    )
    uvicorn.Server(config).run(sockets=[bound])
