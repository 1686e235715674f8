"""What happens to jobs, as kopf-style handlers: the file to edit for reactions of your own.

Each gets, by keyword: `name`; `spec` and `meta`, as the file has them (None when no file can be read); `status`, as it
was told last (None for a new job); `retry`, how often in a row this failed; `logger`; and `reconcile`. Each may be
called again at any time, and ends in the one idempotent `reconcile(name)`. Raise on.TemporaryError to be called again,
on.PermanentError to be left alone until something changes.
"""

import logging
from collections.abc import Callable
from typing import Any

from opeva_operator import on


@on.create
def created(name: str, reconcile: Callable[[str], None], logger: logging.Logger, **_: Any) -> None:
    """A new job: accept it and, when it is its turn, run it."""
    logger.info("job %s: new", name)
    reconcile(name)


@on.update
def updated(name: str, reconcile: Callable[[str], None], **_: Any) -> None:
    """Another run is wanted: end what runs once the wish has settled, then run the new one."""
    reconcile(name)


@on.resume
def resumed(name: str, reconcile: Callable[[str], None], **_: Any) -> None:
    """The operator has started: find out what became of the job meanwhile."""
    reconcile(name)


@on.delete
def deleted(name: str, reconcile: Callable[[str], None], **_: Any) -> None:
    """The spec is gone: end what runs once the deletion has settled; results and status stay."""
    reconcile(name)
