"""What makes a run a different run."""

import hashlib
import json

from opeva_specs.model import JobSpec

# Frozen for ever: a change here would run history again. Later fields join at the end, and only count when written.
DIGESTED = (
    "image",
    "command",
    "args",
    "env",
    "config",
    "config_path",
    "resources",
    "target_host",
    "network",
    "rerun",
)


def digest(spec: JobSpec) -> str:
    """SHA-256 (64 hex digits) of the fields that make a run, as the user wrote them, before any default."""
    written = spec.model_dump(mode="json", by_alias=True, include=set(DIGESTED), exclude_unset=True, exclude_none=True)
    text = json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
