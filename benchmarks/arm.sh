#!/usr/bin/env bash
# Does everything work on a Raspberry Pi? The tests and the footprint, in an emulated Debian 12.
#
#     sudo benchmarks/arm.sh [--in FOLDER] [arm64|armhf ...]
#
# It takes an hour or two for each architecture, so it is for now and then. It needs root, git, and
# `apt install debootstrap qemu-user-static`. The systems are made in a temporary folder, or in FOLDER, where they
# stay: the next time, what is there already is used again.
#
# Everything is mounted and started in namespaces of its own, which the kernel clears away when this ends, however
# it ends. So nothing is mounted where something is deleted, and no process stays. The one thing that the whole
# machine sees is that the kernel knows from then on what to run ARM programs with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

MIRROR=http://deb.debian.org/debian
# For the tests: certificates, and what looks at the units. Debian's Redis, because there is no wheel for armhf.
PACKAGES=python3-venv,redis-server,openssl,systemd
# Where the tests go, seen from inside.
CHECKOUT=/root/spotify-logger

PYTEST=(
    -n "$(nproc)"
    --timeout 1800                     # an emulated processor is ten to twenty times slower
    --ignore tests/test_web_browser.py # Chromium does not start under emulation
)

say() { printf '\n== %s\n' "$*"; }

# register QEMU: have the kernel run the programs of an architecture with this emulator, if it does not yet.
register() {
    local formats=/proc/sys/fs/binfmt_misc
    [[ -e $formats/register ]] || mount -t binfmt_misc binfmt_misc $formats
    [[ -e $formats/$1 ]] || cat "/usr/lib/binfmt.d/$1.conf" >$formats/register
}

# make ARCHITECTURE ROOT: the emulated system, unless it was finished before.
make() {
    [[ ! -e $2/finished ]] || return 0
    say "making a Debian for $1"
    debootstrap --arch="$1" --variant=minbase --include=$PACKAGES bookworm "$2" $MIRROR
    touch "$2/finished"
}

# enter ROOT COMMAND...: run something in the emulated system, with nothing of this one's environment but what it
# takes to reach the package index.
enter() {
    local root=$1 name passed=()
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [[ -z ${!name-} ]] || passed+=("$name=${!name}")
    done
    shift
    env -i "${passed[@]}" "PIP_INDEX_URL=$index" PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_QUIET=1 CI=true \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        chroot "$root" "$@"
}

# What is done inside of the namespaces.
inside() {
    local architecture=$1 root=$2 qemu index
    case $architecture in
    arm64) qemu=qemu-aarch64 ;;
    armhf) qemu=qemu-arm ;;
    esac
    register $qemu
    make "$architecture" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    # The way to the package index, as it is on this machine.
    index=$(python3 -m pip config get global.index-url 2>/dev/null || echo https://pypi.org/simple)
    cp --remove-destination --dereference /etc/resolv.conf /etc/hosts "$root/etc/"
    mkdir -p "$root/etc/ssl/certs"
    cp --dereference /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

    say "installing on $architecture"
    rm -rf "$root$CHECKOUT"
    mkdir "$root$CHECKOUT"
    git ls-files -z | tar --create --null --files-from=- | tar --extract --no-same-owner --directory "$root$CHECKOUT"
    enter "$root" bash -c "cd $CHECKOUT && python3 -m venv .venv && .venv/bin/pip install -e '.[test]'"

    say "the tests on $architecture"
    enter "$root" bash -c "cd $CHECKOUT && exec .venv/bin/pytest \"\$@\"" pytest "${PYTEST[@]}"
    say "the footprint on $architecture"
    enter "$root" bash -c "cd $CHECKOUT && exec .venv/bin/python benchmarks/footprint.py"
}

main() {
    local folder='' architecture failed=() told=()
    if [[ ${1-} == --in ]]; then
        folder=$(realpath "$2")
        mkdir -p "$folder"
        shift 2
    fi
    (($#)) || set -- arm64 armhf
    for architecture; do
        [[ $architecture == arm64 || $architecture == armhf ]] || {
            echo "neither arm64 nor armhf: $architecture" >&2
            return 2
        }
    done
    if [[ -z $folder ]]; then
        folder=$(mktemp -d)
        trap 'rm -rf --one-file-system "$folder"' EXIT
    fi
    for architecture; do
        SECONDS=0
        if unshare --mount --pid --fork --kill-child --mount-proc \
            "${BASH_SOURCE[0]}" --inside "$architecture" "$folder/$architecture"; then
            told+=("$architecture: all is well, after $((SECONDS / 60)) minutes")
        else
            told+=("$architecture: something failed, after $((SECONDS / 60)) minutes")
            failed+=("$architecture")
        fi
    done
    say "the end"
    printf '%s\n' "${told[@]}"
    ((${#failed[@]} == 0))
}

if [[ ${1-} == --inside ]]; then
    inside "$2" "$3"
else
    main "$@"
fi
