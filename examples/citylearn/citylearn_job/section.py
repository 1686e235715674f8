"""Typed reading of a nested mapping, with errors that name the key and say what to write."""

import difflib
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class ConfigError(Exception):
    """The config cannot be used; the message is one sentence for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping and the dotted path it was found under; null counts as not written."""

    path: str
    values: Mapping[object, object]

    def section(self, name: str) -> "Section":
        """Returns the mapping under this key, an empty one when it is not written."""
        match self.values.get(name):
            case None:
                return Section(self.at(name), {})
            case Mapping() as values:
                return Section(self.at(name), values)
            case other:
                raise self._error(name, other, "a mapping of keys to values")

    def text(self, name: str) -> str | None:
        """Returns the text under this key, None when it is not written."""
        match self.values.get(name):
            case None:
                return None
            case str(text) if text.strip():
                return text.strip()
            case other:
                raise self._error(name, other, "a text")

    def claim(self, name: str) -> bool | None:
        """Returns true or false, None when it is not written."""
        match self.values.get(name):
            case None | bool() as value:
                return value
            case other:
                raise self._error(name, other, "true or false")

    def whole(self, name: str, *, minimum: int) -> int | None:
        """Returns the whole number under this key, None when it is not written."""
        match self.values.get(name):
            case None:
                return None
            case int(number) if not isinstance(number, bool) and number >= minimum:
                return number
            case other:
                raise self._error(name, other, f"a whole number from {minimum}")

    def number(self, name: str, *, minimum: float = -math.inf) -> float | None:
        """Returns the finite number under this key, None when it is not written."""
        match self.values.get(name):
            case None:
                return None
            case (int() | float()) as number if _is_finite(number) and number >= minimum:
                return float(number)
            case other:
                floor = "" if minimum == -math.inf else f" from {minimum:g}"
                raise self._error(name, other, f"a number{floor}")

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        """Returns one of the choices, None when it is not written."""
        chosen = self.text(name)
        known = sorted(choices)
        if chosen is None or chosen in known:
            return chosen
        raise ConfigError(f"cannot use {chosen!r} as {self.at(name)}: {hint(chosen, known)}")

    def at(self, name: str) -> str:
        """Returns the dotted path of a key in this section."""
        return f"{self.path}.{name}" if self.path else name

    def _error(self, name: str, found: object, wanted: str) -> ConfigError:
        return ConfigError(f"cannot use {found!r:.80} as {self.at(name)}: write {wanted}")


def hint(wrong: str, known: Iterable[str]) -> str:
    """Says which of the known words was probably meant, and lists them all."""
    words = {word.lower(): word for word in known}
    near = difflib.get_close_matches(wrong.lower(), words, n=1)
    meant = f"did you mean {words[near[0]]}? " if near else ""
    return f"{meant}this image knows {', '.join(words.values())}"


def _is_finite(number: int | float) -> bool:
    # Compared, not converted: a YAML integer may be longer than any float.
    return not isinstance(number, bool) and abs(number) <= sys.float_info.max
