"""`opeva up`: the operator and the API as two child processes."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from opeva_cli.errors import CommandError
from opeva_cli.supervisor import Service, supervise
from opeva_specs.settings import SettingsError, load_settings

API_UID = "OPEVA_API_UID"


def up(environ: Mapping[str, str]) -> int:
    """Run both services until told to end; raises CommandError when they could not run at all."""
    try:
        settings = load_settings(environ)
    except SettingsError as error:
        raise CommandError(str(error)) from error
    print(
        f"opeva: volume {settings.shared_data}, API at http://{settings.api_host}:{settings.api_port}",
        file=sys.stderr,
        flush=True,
    )
    return supervise(services(environ), environ)


def services(environ: Mapping[str, str]) -> list[Service]:
    """The operator, and the API: under the uid of OPEVA_API_UID when root and it is set, as in the image."""
    return [
        Service(name="the operator", command=(_program("opeva-operator", environ),)),
        Service(name="the API", command=(_program("opeva-api", environ),), user=_api_user(environ)),
    ]


def _program(name: str, environ: Mapping[str, str]) -> str:
    """The script beside our own interpreter first: a venv need not be activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    if found is None:
        raise CommandError(f"cannot find the program {name!r}: install the package again")
    return found


def _api_user(environ: Mapping[str, str]) -> int | None:
    written = environ.get(API_UID, "").strip()
    if not written or os.geteuid() != 0:
        return None
    if not written.isdecimal() or not 0 < int(written) < 2**31:
        raise CommandError(f"cannot use {API_UID}={written[:80]!r}: give the number of a user that is not root")
    return int(written)
