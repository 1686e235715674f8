"""What `opeva run` sends: the body of a request, from a spec file or a config."""

from pathlib import Path
from typing import Any

from opeva_cli.errors import CommandError
from opeva_specs.model import JobSpec
from opeva_specs.parse import SpecInvalid, parse
from opeva_specs.yamltree import MAX_BYTES, Mark, Tree, YamlError, read_trees

# What the endpoint has a word for; anything else only a file under specs/ can say.
_WORDS = {
    "config": "config",
    "config_path": "config_path",
    "target_host": "target_host",
    "submitted_by": "submitted_by",
}


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
    try:
        documents = parse(read(file))
    except SpecInvalid as error:
        first = error.errors[0]
        raise CommandError(_located(file, first.line, first.column, first.field, first.message)) from error
    return [_body(file, document.job.metadata.name, document.job.spec) for document in documents]


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


def _body(file: Path, name: str, spec: JobSpec) -> dict[str, Any]:
    unspeakable = [JobSpec.model_fields[field].alias for field in sorted(spec.model_fields_set - _WORDS.keys())]
    if unspeakable:
        raise CommandError(
            f"cannot submit {file} over REST, which has no word for {', '.join(map(str, unspeakable))}: "
            "copy the file into specs/ of the shared volume"
        )
    said = {word: getattr(spec, field) for field, word in _WORDS.items()}
    return {"job_name": name} | {word: value for word, value in said.items() if value is not None}


def _first_ambiguous(tree: Tree) -> Mark | None:
    found = [mark for mark in (*tree.keys.values(), *tree.marks.values()) if mark.is_ambiguous]
    return min(found, key=lambda mark: (mark.line, mark.column), default=None)


def _located(file: Path, line: int, column: int, field: str, message: str) -> str:
    return f"{file}:{line}:{column}: {field}: {message}" if field else f"{file}:{line}:{column}: {message}"
