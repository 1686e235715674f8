"""What Docker's refusals mean: pure, and knows no Docker library."""

import re

from .docker_json import pull_kind
from .engine import (
    ContainerGone,
    EngineError,
    EngineUnreachable,
    ImageMissing,
    NameTaken,
    NetworkNotFound,
    PathMissing,
    PullFailed,
)

# Docker's status alone does not say what is missing: a creation's 404 may be the image, a start's the network.
_ANSWERS: tuple[tuple[int, str, type[EngineError]], ...] = (
    (404, r"no such image|image not known", ImageMissing),
    (404, r"no such container", ContainerGone),
    (404, r"network .*not found|no such network", NetworkNotFound),
    (404, r"could not find the file", PathMissing),
    (400, r"bind source path does not exist", PathMissing),
    (400, r"network .* is ambiguous", NetworkNotFound),  # to ensure it again makes it one
    (409, r"name .*already in use", NameTaken),
    (409, r"marked for removal", ContainerGone),
)


def kind_of_answer(status: int, words: str) -> type[EngineError]:
    """The error of ours for an answer that is none."""
    if status >= 500:
        return EngineUnreachable
    for at, sign, kind in _ANSWERS:
        if status == at and re.search(sign, words.lower()):
            return kind
    return EngineError


def pull_failed(image: str, words: str) -> PullFailed:
    """The error that says why an image cannot be had."""
    return PullFailed(pull_kind(words), f"cannot pull {image!r}: {words}")


def root_cause(error: BaseException) -> str:
    """The system's own words, which the libraries wrap several times."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return str(error)
