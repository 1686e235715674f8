"""Edge: what holds for every request and every answer, around all endpoints."""

import logging
import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opeva_api.errors import failure
from opeva_api.heart import Heart

logger = logging.getLogger(__name__)

_SLASHES = re.compile(r"/{2,}")


class Edge:
    """Tolerates `//jobs` and `/jobs/`, tells the age of the operator's heartbeat, and turns a fault into a sentence."""

    def __init__(self, app: ASGIApp, heart: Heart) -> None:
        self._app, self._heart = app, heart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = _SLASHES.sub("/", scope["path"]).rstrip("/") or "/"
        is_begun = False

        async def send_told(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                self._tell(MutableHeaders(scope=message))
            await send(message)

        try:
            await self._app(scope, receive, send_told)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if is_begun:
                raise
            await failure(500, "something went wrong here: the log of this service tells what")(
                scope, receive, send_told
            )

    def _tell(self, headers: MutableHeaders) -> None:
        age = self._heart.age()
        headers["X-Opeva-Heartbeat-Age"] = "unknown" if age is None else f"{age:.1f}"
