"""Guarded YAML: bytes to plain trees with positions, in one pass over libyaml's events.

Nothing is composed before it is judged, so nesting, aliases and merge keys cannot exhaust the process: libyaml's
composer dies of 30,000 nested brackets, and 450 bytes of merge keys cost seconds; its event parser bears both.
"""

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_NODES = 10_000

Path = tuple[str | int, ...]

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})|0x[0-9a-fA-F]{1,15}")
# A whole number too long for _INT is no float either: it would lose its last digits.
_FLOAT = re.compile(
    r"[-+]?(?:(?:\.[0-9]+|(?:0|[1-9][0-9]*)\.[0-9]*)(?:[eE][-+]?[0-9]{1,3})?|(?:0|[1-9][0-9]*)[eE][-+]?[0-9]{1,3})"
)
_NEW_OCTAL = re.compile(r"0o[0-7]+")
# U+0085, U+2028 and U+2029 end lines in YAML 1.1 alone: text would change, and a comment could hide a field.
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_JSON_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)")
_OLD_READINGS: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a node stands (line and column count from 1), and the word it was written as."""

    line: int
    column: int
    raw: str = ""
    is_ambiguous: bool = False


class YamlError(ValueError):
    """The text is not YAML that we take: says why, and where."""

    def __init__(self, reason: str, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.reason, self.message, self.line, self.column = reason, message, line, column


@dataclass(slots=True, kw_only=True)
class Tree:
    """One document: plain dicts, lists, text, numbers, booleans and None; and where each value and key stood."""

    value: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None


def read_trees(data: bytes) -> list[Tree]:
    """All documents of a file; raises YamlError at the first thing that cannot be taken."""
    text = _decode(data)
    try:
        return list(_trees(text))
    except yaml.YAMLError as error:
        raise _syntax_error(error) from error
    except ValueError as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError("Syntax", f"cannot read this as YAML: {str(error)[:120]}") from error


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise YamlError("TooLarge", f"the file has {len(data)} bytes; a spec may have {MAX_BYTES}: use configPath")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise YamlError("Encoding", "the file is UTF-16: save it as UTF-8")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place_of(data[: error.start].decode("utf-8"))
        raise YamlError("Encoding", "the file is not UTF-8: save it as UTF-8", line, column) from error
    if found := _UNPRINTABLE.search(text):
        line, column = _place_of(text[: found.start()])
        message = (
            f"the file holds the control character U+{ord(found.group()):04X}: remove it, or write it as an escape"
        )
        raise YamlError("Syntax", message, line, column)
    return _JSON_ESCAPE.sub(_joined, text) if text.lstrip().startswith("{") else text


def _place_of(before: str) -> tuple[int, int]:
    lines = before.split("\n")
    return len(lines), len(lines[-1]) + 1


def _joined(escape: re.Match[str]) -> str:
    """JSON writes one character beyond U+FFFF as two escapes, which YAML refuses: join them."""
    if escape[1] is None:
        return escape[0]
    return f"\\U{0x10000 + ((int(escape[1], 16) - 0xD800) << 10) + int(escape[2], 16) - 0xDC00:08x}"


def _syntax_error(error: yaml.YAMLError) -> YamlError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return YamlError("Syntax", f"cannot read this as YAML: {str(problem)[:120]}", line, column)


def _trees(text: str) -> Iterator[Tree]:
    builder: _Builder | None = None
    nodes = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        match event:
            case yaml.DocumentStartEvent():
                builder = _Builder()
            case yaml.DocumentEndEvent():
                assert builder is not None  # libyaml never ends what it did not start
                yield builder.tree
            case yaml.NodeEvent() | yaml.CollectionEndEvent():
                assert builder is not None
                nodes += isinstance(event, yaml.NodeEvent)
                if nodes > MAX_NODES:
                    raise _refuse(event, "TooLarge", f"more than {MAX_NODES} values: use configPath")
                builder.take(event)
            case _:  # start and end of the stream
                continue


def _refuse(event: yaml.Event, reason: str, message: str) -> YamlError:
    mark = _mark(event)
    return YamlError(reason, message, mark.line, mark.column)


def _mark(event: yaml.Event, raw: str = "", is_ambiguous: bool = False) -> Mark:
    line, column = (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else (1, 1)
    return Mark(line=line, column=column, raw=raw, is_ambiguous=is_ambiguous)


class _Builder:
    """Builds one document from its events, without recursion."""

    def __init__(self) -> None:
        self.tree = Tree()
        self._stack: list[_Open] = []

    def take(self, event: yaml.NodeEvent | yaml.CollectionEndEvent) -> None:
        match event:
            case yaml.AliasEvent():
                raise _refuse(event, "AliasRefused", "aliases (*name) are not taken in specs: write the value out")
            case yaml.CollectionEndEvent():
                self._stack.pop()
            case yaml.ScalarEvent():
                _refuse_extras(event)
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._open(event, {})
            case yaml.SequenceStartEvent():
                self._open(event, [])
            case _:
                raise _refuse(event, "Syntax", "cannot read this as YAML")

    def _open(self, event: yaml.NodeEvent, value: dict[str, Any] | list[Any]) -> None:
        _refuse_extras(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _refuse(event, "TooDeep", f"nested more than {MAX_DEPTH} deep: use configPath")
        path = self._place(event, value, "", False)
        self._stack.append(_Open(value, path))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        top = self._stack[-1] if self._stack else None
        is_plain = event.style is None or event.style == ""
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(event, top, is_plain)
            return
        value, is_ambiguous = _resolve(event.value) if is_plain else (event.value, False)
        self._place(event, value, event.value, is_ambiguous)

    def _key(self, event: yaml.ScalarEvent, top: _Open, is_plain: bool) -> None:
        key = event.value
        if is_plain and key == "<<":
            raise _refuse(event, "AliasRefused", "merge keys (<<) are not taken in specs: write the fields out")
        value, is_ambiguous = _resolve(key) if is_plain else (key, False)
        if not isinstance(value, str):
            raise _refuse(event, "WrongType", f"the key {key[:40]!r} is not text: write it in quotes")
        if key in top.value:
            raise _refuse(event, "DuplicateKey", f"the key {key[:40]!r} stands here twice: keep one")
        top.key = key
        self.tree.keys[(*top.path, key)] = _mark(event, key, is_ambiguous)

    def _place(self, event: yaml.Event, value: Any, raw: str, is_ambiguous: bool) -> Path:
        path: Path = ()
        if not self._stack:
            self.tree.value = value
        else:
            top = self._stack[-1]
            if isinstance(top.value, list):
                path = (*top.path, len(top.value))
                top.value.append(value)
            elif top.key is None:
                raise _refuse(event, "WrongType", "a key must be one word, not a list or a mapping")
            else:
                path = (*top.path, top.key)
                top.value[top.key] = value
                top.key = None
        self.tree.marks[path] = _mark(event, raw, is_ambiguous)
        return path


def _refuse_extras(event: yaml.NodeEvent) -> None:
    if event.anchor is not None:
        raise _refuse(event, "AliasRefused", "anchors (&name) are not taken in specs: write the value out")
    if getattr(event, "tag", None) is not None:
        raise _refuse(event, "TagRefused", "tags (!name) are not taken in specs: remove it")


def _resolve(word: str) -> tuple[Any, bool]:
    """The value of an unquoted word, and whether another YAML version reads it as something else than text."""
    if word in _NULL:
        return None, False
    if word in _BOOL:
        return _BOOL[word], False
    if _INT.fullmatch(word):
        return int(word, 16 if word.startswith("0x") else 10), False
    if _FLOAT.fullmatch(word):
        return (float(word), False) if math.isfinite(float(word)) else (word, True)
    return word, _other_reading_differs(word)


def _other_reading_differs(word: str) -> bool:
    if _NEW_OCTAL.fullmatch(word):
        return True
    candidates = [*_OLD_READINGS.get(word[:1], []), *_OLD_READINGS.get(None, [])]  # type: ignore[call-overload]
    return any(pattern.match(word) for _, pattern in candidates)
