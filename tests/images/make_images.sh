#!/bin/sh
# Makes the base images that tests, demo and CI need where no registry can be reached.
#
#   make_images.sh busybox     opeva-test/busybox:latest and :other, a few MB, every applet linked
#   make_images.sh python      a stand-in for python:3.11-slim, only when that image cannot be had
#   make_images.sh citylearn   opeva/citylearn:latest, the example simulator
#   make_images.sh mlflow      opeva-test/mlflow:latest, a tracking server
#
# Each is quick when its image exists. To make one anew, remove the image first. DOCKER_HOST is respected.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=

main() {
    [ $# -gt 0 ] || usage
    for wanted in "$@"; do
        case $wanted in
            busybox | python | citylearn | mlflow) ;;
            *) usage ;;
        esac
    done
    docker version >/dev/null 2>&1 || fail "no Docker engine answers: start one, or point DOCKER_HOST at one"
    trap 'test -z "$work" || rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    for wanted in "$@"; do
        "make_$wanted"
    done
}

usage() {
    echo "usage: make_images.sh busybox|python|citylearn|mlflow ..." >&2
    exit 2
}

fail() {
    echo "make_images: cannot make the image: $1" >&2
    exit 1
}

say() {
    echo "make_images: $1" >&2
}

# Test processes that run side by side must not build the same image twice.
wait_for_our_turn() {
    exec 9>"${TMPDIR:-/tmp}/opeva-make-image-$1.lock"
    flock 9
}

exists() {
    docker image inspect "$1" >/dev/null 2>&1
}

# A folder on disk, not $TMPDIR's tmpfs, which may forbid device files.
new_work_folder() {
    test -z "$work" || rm -rf "$work"
    work=$(mktemp -d /var/tmp/opeva-image.XXXXXX)
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "$1 must be made as root"
}

apt_install() {
    need_root "the stand-in image"
    apt-get -qq update >&2 || say "apt-get update failed, going on with the lists at hand"
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends --yes "$@" </dev/null >&2
}

# --- busybox -------------------------------------------------------------------------------------------------

make_busybox() {
    exists opeva-test/busybox:latest && exists opeva-test/busybox:other && return 0
    wait_for_our_turn busybox
    exists opeva-test/busybox:latest && exists opeva-test/busybox:other && return 0
    new_work_folder
    fetch_busybox
    root=$work/root
    mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/tmp" "$root/var/tmp"
    chmod 1777 "$root/tmp" "$root/var/tmp"
    cp "$work/busybox" "$root/bin/busybox"
    chmod 755 "$root/bin/busybox"
    "$root/bin/busybox" --list >"$work/applets"
    grep -qx sh "$work/applets" || fail "the busybox at hand has no shell"
    while read -r applet; do
        [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
    done <"$work/applets"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    for tag in latest other; do
        echo "$tag" >"$root/etc/opeva-test-image"
        import_root opeva-test/busybox:$tag 'CMD ["/bin/sh"]'
    done
}

# The package is unpacked, not installed: busybox-static would push the host's own busybox out.
fetch_busybox() {
    if [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1; then
        cp /bin/busybox "$work/busybox"
        return 0
    fi
    (
        cd "$work"
        download_deb busybox-static
        dpkg-deb --extract busybox-static_*.deb unpacked
    )
    for place in bin usr/bin; do
        [ ! -f "$work/unpacked/$place/busybox" ] || cp "$work/unpacked/$place/busybox" "$work/busybox"
    done
}

download_deb() {
    if apt-get -qq -o APT::Sandbox::User=root download "$1" >&2 2>/dev/null; then
        return 0
    fi
    need_root "the busybox image (its first time, to update the package lists)"
    apt-get -qq update >&2
    apt-get -qq -o APT::Sandbox::User=root download "$1" >&2 || fail "apt-get cannot download $1"
}

import_root() {
    say "importing $1"
    # Not a pipe, in which nobody would notice that tar failed.
    tar --create --sort=name --numeric-owner --file "$work/root.tar" --directory "$work/root" .
    docker import --change "$2" --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'LABEL io.opeva.stand-in=true' - "$1" <"$work/root.tar" >/dev/null
}

# --- python:3.11-slim ----------------------------------------------------------------------------------------

make_python() {
    image=python:3.11-slim
    exists $image && return 0
    wait_for_our_turn python
    exists $image && return 0
    if timeout 90 docker pull --quiet $image >/dev/null 2>&1; then
        return 0
    fi
    say "$image cannot be pulled: making a stand-in from Debian 12, whose python3 is 3.11"
    need_root "the stand-in for $image"
    command -v debootstrap >/dev/null || apt_install debootstrap debian-archive-keyring
    new_work_folder
    bootstrap_debian "$work/root"
    dress_as_python "$work/root"
    trust_what_the_host_trusts "$work/root"
    slim "$work/root"
    import_root $image 'CMD ["python3"]'
}

bootstrap_debian() {
    mkdir -p "$1"
    # No mirror named: debootstrap's own default, unless the host's apt knows a nearer one.
    # shellcheck disable=SC2046
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates \
        bookworm "$1" $(host_mirror) >"$work/debootstrap.log" 2>&1 ||
        {
            tail -n 20 "$work/debootstrap.log" >&2
            fail "debootstrap failed, see above"
        }
}

host_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Codename: bookworm' 2>/dev/null |
        grep '^http' | head -n 1
}

dress_as_python() {
    rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
    mkdir -p "$1/usr/local/bin"
    for name in python python3 python3.11; do
        ln -sf /usr/bin/python3.11 "$1/usr/local/bin/$name"
    done
    for name in pip pip3; do
        ln -sf /usr/bin/pip3 "$1/usr/local/bin/$name"
    done
}

# Debian's pip brings its own list of authorities; behind a company's proxy only the system's list is right.
trust_what_the_host_trusts() {
    mkdir -p "$1/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$1/usr/local/share/ca-certificates/" \; 2>/dev/null || true
    chroot "$1" update-ca-certificates >/dev/null 2>&1
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$1/etc/pip.conf"
}

slim() {
    rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/* "$1"/usr/share/man/* "$1"/usr/share/locale/* \
        "$1"/etc/resolv.conf "$1"/etc/hostname
    find "$1/usr/share/doc" -type f ! -name copyright -delete
}

# --- images with a Dockerfile of their own --------------------------------------------------------------------

make_citylearn() {
    build opeva/citylearn:latest "$here/../../examples/citylearn"
}

make_mlflow() {
    build opeva-test/mlflow:latest "$here/mlflow"
}

build() {
    make_python
    tag=$1
    folder=$2
    set --
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        if eval "[ -n \"\${$name:-}\" ]"; then
            set -- "$@" --build-arg "$name"
        fi
    done
    new_work_folder
    docker build "$@" --tag "$tag" "$folder" >"$work/build.log" 2>&1 || {
        tail -n 40 "$work/build.log" >&2
        fail "docker build failed, see above"
    }
}

main "$@"
