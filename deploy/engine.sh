#!/usr/bin/env bash
# Makes sure that a Docker engine answers: does nothing when one does, else installs and starts it where it may.
set -euo pipefail
cd "$(dirname "$0")/.."

log=/var/log/opeva-dockerd.log
default_socket=unix:///var/run/docker.sock

# The client alone proves nothing: only a server that tells its version does. A frozen engine must not freeze us.
answers() {
    timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

give_up() {
    echo "$1" >&2
    exit 1
}

# Before Debian 13 the engine's package brings the client too.
install_engine() {
    command -v dockerd >/dev/null || deploy/packages.sh docker.io ca-certificates
    command -v docker >/dev/null || deploy/packages.sh docker-cli
}

# An engine that was killed leaves its pid file; when that number lives again as another program, dockerd refuses to start.
drop_stale_pid() {
    local file=$1 program=$2 pid
    pid=$(cat "$file" 2>/dev/null) || return 0
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$program" ] || rm -f "$file"
}

# A session of its own and no inherited files: the engine outlives make, and nobody who reads make's output waits for it.
start_detached() {
    drop_stale_pid /var/run/docker.pid dockerd
    drop_stale_pid /var/run/docker/containerd/containerd.pid containerd
    (
        for fd in /proc/"$BASHPID"/fd/*; do
            fd=${fd##*/}
            if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
        done
        exec setsid dockerd </dev/null >>"$log" 2>&1
    ) &
    started=$!
}

wait_until_it_answers() {
    local second
    for second in $(seq 90); do
        answers && return
        if [ -n "${started:-}" ] && ! kill -0 "$started" 2>/dev/null; then
            tail -n 20 "$log" >&2
            give_up "cannot start the Docker engine: dockerd ended after $second s; its last words are above, all of them in $log"
        fi
        sleep 1
    done
    give_up "cannot start the Docker engine: no answer after 90 s; see $log (or 'journalctl -u docker')"
}

if answers; then exit 0; fi
if [ "${DOCKER_HOST:-$default_socket}" != "$default_socket" ]; then
    give_up "cannot reach the Docker engine at DOCKER_HOST=$DOCKER_HOST: start that engine, or unset DOCKER_HOST to use this machine's"
fi
if [ "$(id -u)" -ne 0 ]; then
    give_up "cannot use a Docker engine as user $(id -un): start one and join the group 'docker', or run this as root"
fi
if ! command -v dockerd >/dev/null && ! command -v apt-get >/dev/null; then
    give_up "cannot install a Docker engine here: this script knows Debian and Ubuntu only; install and start Docker, then run this again"
fi
install_engine
if [ -d /run/systemd/system ]; then
    systemctl start docker
else
    # The package may have started it already.
    answers || start_detached
fi
wait_until_it_answers
echo "the Docker engine answers: $(docker version --format '{{.Server.Version}}')"
