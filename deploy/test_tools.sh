#!/usr/bin/env bash
# Makes sure of the two programs that tests drive besides Docker: a Chromium and a compose.
set -euo pipefail
cd "$(dirname "$0")/.."

has_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then return; fi
    done
    return 1
}

has_compose() {
    docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null
}

missing=()
has_browser || missing+=(chromium)
has_compose || missing+=(docker-compose)
if [ "${#missing[@]}" -gt 0 ]; then deploy/packages.sh "${missing[@]}"; fi
