#!/usr/bin/env bash
# Installs Debian packages; where that cannot be done, says in one sentence who must do what.
set -euo pipefail

if ! command -v apt-get >/dev/null; then
    echo "cannot install $*: this machine has no apt-get; install it by hand, then run this again" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "cannot install $*: that needs root; run 'sudo apt-get install $*', then this again" >&2
    exit 1
fi

# Another helper script, or the machine's own upgrade, may hold apt's lock for a while.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

echo "installing $* with apt-get"
if apt install --yes --no-install-recommends "$@" >/dev/null 2>&1; then exit 0; fi
# A fresh machine has no package lists, and an old one names versions that are gone. One source that cannot be reached,
# often somebody else's, is no reason to stop: what is missing then, the second try tells.
apt update || echo "apt-get update failed, going on with the lists at hand" >&2
apt install --yes --no-install-recommends "$@" >/dev/null
