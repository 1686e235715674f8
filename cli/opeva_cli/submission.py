"""What `opeva run` sends: the body of a request, from a spec file or a config."""

from pathlib import Path
from typing import Any

from opeva_cli.errors import CommandError
from opeva_specs.model import JobSpec
from opeva_specs.parse import Document, SpecInvalid, parse
from opeva_specs.yamltree import MAX_BYTES, Mark, Tree, YamlError, read_trees

# What the endpoint has a word for; anything else only a file under specs/ can say.
_WORDS = (
    "config", "config_path", "target_host", "submitted_by", "image", "priority", "suspend", "active_deadline_seconds",
    "stall_seconds", "backoff_limit", "retry_on", "fail_on", "ttl_seconds_after_finished", "ttl_seconds_after_failed",
    "keep", "resources",
)  # fmt: skip


def read(file: Path) -> bytes:
    """The bytes of a file; raises CommandError when they cannot be read, or are more than a spec may have."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from error


def complaints(file: Path) -> list[str]:
    """What is wrong in a spec file, as `file:line:column: field: message`; nothing when it is good."""
    try:
        parse(read(file))
    except SpecInvalid as error:
        return [_located(file, found.line, found.column, found.field, found.message) for found in error.errors]
    return []


def from_spec(file: Path) -> list[dict[str, Any]]:
    """One body per job of a spec file; the job's name becomes its display name, its id is the server's choice."""
    return [_body(file, document.job.metadata.name, document.job.spec) for document in _documents(file)]


def jobs_in(file: Path) -> list[dict[str, Any]]:
    """The jobs of a spec file as they are written, each by itself; raises CommandError when the file is no good."""
    return [d.job.model_dump(mode="json", by_alias=True, exclude_unset=True) for d in _documents(file)]


def from_config(file: Path) -> dict[str, Any]:
    """The body of a job with an inline config."""
    try:
        trees = [tree for tree in read_trees(read(file)) if tree.value is not None]
    except YamlError as error:
        raise CommandError(_located(file, error.line, error.column, "", error.message)) from error
    if len(trees) != 1 or not isinstance(trees[0].value, dict):
        raise CommandError(f"cannot use {file} as a config: it must hold one mapping")
    if mark := _first_ambiguous(trees[0]):
        message = f"{mark.raw[:40]!r} means different things to different YAML readers: put it in quotes"
        raise CommandError(_located(file, mark.line, mark.column, "", message))
    return {"config": trees[0].value}


def _documents(file: Path) -> list[Document]:
    try:
        return parse(read(file))
    except SpecInvalid as error:
        first = error.errors[0]
        raise CommandError(_located(file, first.line, first.column, first.field, first.message)) from error


def _body(file: Path, name: str, spec: JobSpec) -> dict[str, Any]:
    unspeakable = [JobSpec.model_fields[field].alias for field in sorted(spec.model_fields_set - set(_WORDS))]
    if unspeakable:
        raise CommandError(
            f"cannot submit {file} over REST, which has no word for {', '.join(map(str, unspeakable))}: "
            "copy the file into specs/ of the shared volume"
        )
    said = spec.model_dump(mode="json", include=set(_WORDS), exclude_unset=True)
    return {"job_name": name} | {word: value for word, value in said.items() if value is not None}


def _first_ambiguous(tree: Tree) -> Mark | None:
    found = [mark for mark in (*tree.keys.values(), *tree.marks.values()) if mark.is_ambiguous]
    return min(found, key=lambda mark: (mark.line, mark.column), default=None)


def _located(file: Path, line: int, column: int, field: str, message: str) -> str:
    return f"{file}:{line}:{column}: {field}: {message}" if field else f"{file}:{line}:{column}: {message}"
