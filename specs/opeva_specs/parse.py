"""Bytes to jobs, or to errors that say what, where and what to write instead."""

import difflib
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from opeva_specs.digest import digest
from opeva_specs.model import API_VERSION, KIND, JobSpec, Metadata, Resources, SimulationJob
from opeva_specs.yamltree import Mark, Path, Tree, YamlError, read_trees

_MODELS: dict[Path, type[BaseModel]] = {
    (): SimulationJob,
    ("metadata",): Metadata,
    ("spec",): JobSpec,
    ("spec", "resources"): Resources,
}
_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecError:
    """One thing wrong in a spec file; `document`, `line` and `column` count from 1, `field` is dotted."""

    document: int
    line: int
    column: int
    field: str
    reason: str
    message: str

    def sentence(self) -> str:
        """The error in one line for a person."""
        what = f"{self.field}: " if self.field else ""
        return f"line {self.line}, column {self.column}: {what}{self.message}"


class SpecInvalid(ValueError):
    """The file cannot be accepted; `errors` says why, in the order of the file."""

    def __init__(self, errors: list[SpecError]) -> None:
        super().__init__("; ".join(error.sentence() for error in errors[:3]))
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A good document: its number in the file (from 1), the job, and the digest of the job's run."""

    number: int
    job: SimulationJob
    digest: str


def parse(data: bytes) -> list[Document]:
    """All jobs of a spec file; raises SpecInvalid with every error found, a name that stands twice included."""
    documents, refused = parse_file(data)
    if refused:
        raise SpecInvalid(refused)
    return documents


def parse_file(data: bytes) -> tuple[list[Document], list[SpecError]]:
    """The jobs of a spec file, and why documents were left out whose name stands in it before; else raises SpecInvalid.

    Any other error rejects the whole file: a file that was cut off is a valid beginning of itself.
    """
    try:
        trees = read_trees(data)
    except YamlError as error:
        raise SpecInvalid([_from_yaml(error)]) from error
    numbered = [(n, tree) for n, tree in enumerate(trees, 1) if tree.value is not None]
    if not numbered:
        raise SpecInvalid([_error(1, Mark(line=1, column=1), "", "Empty", "the file holds no job")])
    documents: list[Document] = []
    errors: list[SpecError] = []
    refused: list[SpecError] = []
    for number, tree in numbered:
        job, found = _job(number, tree)
        errors += found
        if job is None:
            continue
        if any(job.metadata.name == known.job.metadata.name for known in documents):
            refused.append(_same_name(number, tree, job.metadata.name))
            continue
        documents.append(Document(number=number, job=job, digest=digest(job.spec)))
    if errors:
        raise SpecInvalid(_in_file_order(errors + refused))
    return documents, refused


def _from_yaml(error: YamlError) -> SpecError:
    mark = Mark(line=error.line, column=error.column)
    return _error(1, mark, "", error.reason, error.message)


def _job(number: int, tree: Tree) -> tuple[SimulationJob | None, list[SpecError]]:
    if not isinstance(tree.value, dict):
        message = "a job is a mapping that starts with 'apiVersion: opeva.io/v1'"
        return None, [_error(number, _mark(tree, ()), "", "WrongType", message)]
    errors = _ambiguous(number, tree)
    try:
        job = SimulationJob.model_validate(_without_nulls(tree.value))
    except ValidationError as error:
        found = [_from_pydantic(number, tree, detail) for detail in error.errors(include_url=False)]
        return None, _in_order(errors + found)
    return (None if errors else job), _in_order(errors)


def _in_file_order(errors: list[SpecError]) -> list[SpecError]:
    return sorted(errors, key=lambda error: (error.document, error.line, error.column))


def _in_order(errors: list[SpecError]) -> list[SpecError]:
    return sorted(errors, key=lambda error: (error.line, error.column))


def _without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    """A field left empty counts as not written, as in Kubernetes; the inline config is the user's own."""
    cleaned: dict[str, Any] = {}
    for key, item in value.items():
        if item is None:
            continue
        cleaned[key] = (
            _without_nulls(item) if key in ("metadata", "spec", "resources") and isinstance(item, dict) else item
        )
    return cleaned


def _same_name(number: int, tree: Tree, name: str) -> SpecError:
    """Two documents of one file with one name: the later one is the error."""
    path = ("metadata", "name")
    message = f"the name {name!r} stands in this file twice: give each job its own"
    return _error(number, _mark(tree, path), _dotted(path), "DuplicateName", message)


def _ambiguous(number: int, tree: Tree) -> list[SpecError]:
    """Inside `config` a word that YAML versions read differently must be quoted: the simulator may read either."""
    return [
        _error(number, mark, _dotted(path), "Ambiguous", f"{mark.raw[:40]!r} means different things to different YAML "
               "readers: put it in quotes if it is text, or write true, false or a plain number")
        for path, mark in (*tree.keys.items(), *tree.marks.items())
        if mark.is_ambiguous and path[:2] == ("spec", "config") and len(path) > 2
    ]  # fmt: skip


def _from_pydantic(number: int, tree: Tree, detail: ErrorDetails) -> SpecError:
    path = detail["loc"]
    mark = tree.keys[path] if detail["type"] == "extra_forbidden" else _mark(tree, path)
    reason, message = _explain(path, mark, detail)
    return _error(number, mark, _dotted(path), reason, message)


def _explain(path: Path, mark: Mark, detail: ErrorDetails) -> tuple[str, str]:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "UnknownField", _unknown_field(path)
    if kind == "missing":
        return "MissingField", f"is missing: {_how_to_write(path)}"
    if kind == "string_type":
        return "WrongType", _not_text(path, mark, detail["input"])
    if kind in _KINDS:
        return "WrongType", f"must be {_KINDS[kind]}"
    if kind == "literal_error":
        return "InvalidValue", f"must be {detail['ctx']['expected']}"
    return "InvalidValue", _plain(detail["msg"])


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ").strip()


def _unknown_field(path: Path) -> str:
    model = _MODELS.get(path[:-1])
    names = [info.alias or name for name, info in model.model_fields.items()] if model else []
    close = difflib.get_close_matches(str(path[-1]), names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(names)}"
    return f"is not a field of {'.'.join(map(str, path[:-1])) or 'a job'}; {hint}"


def _how_to_write(path: Path) -> str:
    written = {"apiVersion": API_VERSION, "kind": KIND, "name": "my-run"}.get(str(path[-1]))
    return f"write '{path[-1]}: {written}'" if written else f"write '{path[-1]}:' and what belongs below it"


def _not_text(path: Path, mark: Mark, value: Any) -> str:
    if isinstance(value, dict | list):
        return "must be text, not a list or a mapping"
    if "env" in path or not mark.raw or len(mark.raw) > 30:  # values of env may be secrets: never echoed
        return "must be text: put the value in quotes"
    return f'must be text: put it in quotes, "{mark.raw}"'


def _mark(tree: Tree, path: Path) -> Mark:
    while path and path not in tree.marks:
        path = path[:-1]
    return tree.marks.get(path, Mark(line=1, column=1))


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_clean(part)}"
    return text.removeprefix(".")


def _clean(part: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in part[:80])


def _error(document: int, mark: Mark, field: str, reason: str, message: str) -> SpecError:
    return SpecError(document=document, line=mark.line, column=mark.column, field=field, reason=reason, message=message)
