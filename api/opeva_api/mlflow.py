"""Links to MLflow: from its public address, or none at all; a dead link is worse than no link."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_INNER = (".local", ".internal", ".localdomain", ".lan", ".localhost", ".svc")


def run_url(info: Mapping[str, Any], public_url: str | None) -> str | None:
    """Where people see the run that `info` tells of; None when no address is known to work."""
    run = _first_id(info, "mlflow_run_id", "run_id")
    experiment = _first_id(info, "mlflow_experiment_id", "experiment_id")
    if public_url and run and experiment:
        return f"{public_url.rstrip('/')}/#/experiments/{experiment}/runs/{run}"
    own = info.get("mlflow_run_url")
    return own if not public_url and isinstance(own, str) and is_public(own) else None


def _first_id(info: Mapping[str, Any], *keys: str) -> str | None:
    """The first of these ids that is there; None when it could lead elsewhere."""
    found = next((str(info[key]) for key in keys if isinstance(info.get(key), str | int) and info[key] != ""), "")
    return found if _ID.fullmatch(found) else None


def is_public(url: str) -> bool:
    """Whether a browser elsewhere may reach the address, as far as its host tells."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or len(url) > 2048:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_INNER)
