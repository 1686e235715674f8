"""Values as YAML that people can read and that every YAML reader takes for the same values."""

import re
from typing import Any

import yaml

# Text that no YAML version takes for anything else; all other text is quoted.
_PLAIN = re.compile(r"(?![yYnN]$)[A-Za-z_](?:[A-Za-z0-9_./:-]*[A-Za-z0-9_/-])?")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off"}


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text)
    style = "|" if "\n" in text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """The value as YAML, keys in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False)
