#!/usr/bin/env bash
# Writes constraints.txt anew: the newest versions that pyproject.toml allows today.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-.venv/bin/python}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]'
# Only name==version lines: the project itself and anything with an address stay out.
"$scratch/venv/bin/python" -m pip freeze --exclude-editable >"$scratch/frozen"
{
    echo "# Exact versions that the project is tested with. 'make constraints' writes this file anew."
    grep -E '^[A-Za-z0-9._-]+==[^ ]+$' "$scratch/frozen"
} >"$scratch/constraints.txt"
cp "$scratch/constraints.txt" constraints.txt
