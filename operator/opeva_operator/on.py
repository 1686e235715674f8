"""kopf's names for handlers and errors. Which of the four it is, is derived from spec and status: a level, no edge."""

from collections.abc import Callable
from typing import Any, TypeVar

Handler = Callable[..., None]
F = TypeVar("F", bound=Handler)

_handlers: dict[str, list[Handler]] = {"create": [], "update": [], "resume": [], "delete": []}


class TemporaryError(Exception):
    """Try again later, in `delay` seconds."""

    def __init__(self, message: str, delay: float = 60.0) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(Exception):
    """Do not try again until something changes."""


def create(handler: F) -> F:
    """Call the handler for a job that has a spec, but no status yet."""
    return _register("create", handler)


def update(handler: F) -> F:
    """Call the handler for a job whose spec wants another run than the status tells of."""
    return _register("update", handler)


def resume(handler: F) -> F:
    """Call the handler for a job that is seen for the first time since the operator started."""
    return _register("resume", handler)


def delete(handler: F) -> F:
    """Call the handler for a job whose spec is gone while it has not ended."""
    return _register("delete", handler)


def _register(cause: str, handler: F) -> F:
    if handler not in _handlers[cause]:
        _handlers[cause].append(handler)
    return handler


def call(cause: str, **kwargs: Any) -> None:
    """Call the handlers of that cause, in the order of their registration."""
    for handler in _handlers[cause]:
        handler(**kwargs)
