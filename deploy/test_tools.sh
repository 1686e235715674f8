#!/usr/bin/env bash
# Makes sure of the programs that tests drive besides Docker: a Chromium with what its driver needs, a compose,
# and what reaches an engine on another machine.
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

# The driver's own runtime links to it, and a small Debian does not have it.
has_libatomic() {
    /sbin/ldconfig -p | grep 'libatomic\.so\.1' >/dev/null
}

has_ssh() {
    command -v ssh >/dev/null && { command -v sshd >/dev/null || [ -x /usr/sbin/sshd ]; }
}

missing=()
has_libatomic || missing+=(libatomic1)
has_browser || missing+=(chromium)
has_ssh || missing+=(openssh-client openssh-server)
command -v openssl >/dev/null || missing+=(openssl)
has_compose || missing+=(docker-compose)
if [ "${#missing[@]}" -gt 0 ]; then deploy/packages.sh "${missing[@]}"; fi
# Tests start an ssh server of their own; that of the package must not let anybody into this machine.
if [[ " ${missing[*]} " == *" openssh-server "* ]]; then
    systemctl disable --quiet --now ssh.service ssh.socket 2>/dev/null || true
fi
