#!/usr/bin/env bash
# Makes .venv with the project (editable) and everything its tests need, at the versions of constraints.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14}; do
        if is_recent "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "cannot find Python 3.11 or newer: install it, or name one, e.g. 'make install PYTHON=/opt/python3.12/bin/python3'" >&2
    return 1
}

# Debian keeps the venv module's pip in a package of its own.
ensure_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    deploy/packages.sh "$("$1" -c 'import sys; print(f"python3.{sys.version_info.minor}-venv")')"
}

if ! is_recent .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    ensure_venv_module "$python"
    "$python" -m venv --clear .venv
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
