#!/usr/bin/env bash
# Does everything work on a Raspberry Pi? The tests and the footprint, in an emulated Debian 12.
#
#     sudo benchmarks/arm.sh [--in FOLDER] [arm64|armhf ...]
#
# It takes half an hour for each architecture, so it is for now and then. It needs root, a Debian, git, and
# `apt install debootstrap qemu-user-static`. The systems are made in a temporary folder, or in FOLDER, where they
# stay: the next time, what is there already is used again.
#
# Everything is mounted and started in namespaces of its own, which the kernel clears away when this ends, however
# it ends. So nothing is mounted where something is deleted, and no process stays. The one thing that the whole
# machine sees is that the kernel knows from then on what to run ARM programs with.
set -euo pipefail

MIRROR=http://deb.debian.org/debian
# What the tests use beside Python: certificates, a look at the units, and a Redis beside the Valkey in the wheel,
# which is not for 32 bits.
PACKAGES=python3-venv,openssl,systemd,redis-server
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
# Where the tests go, seen from inside.
CHECKOUT=/root/spotify-logger

SLOWNESS=4 # an emulated processor is that much slower
PYTEST=(
    -n "$(nproc)"
    --timeout 1800
    --ignore tests/web/test_browser.py # Chromium is not expected to run in QEMU's user mode
)

say() { printf '\n== %s\n' "$*"; }

# register QEMU: have the kernel run the programs of an architecture with this emulator, if it does not yet.
register() {
    local formats=/proc/sys/fs/binfmt_misc
    [[ -e $formats/register ]] || mount -t binfmt_misc binfmt_misc $formats
    [[ -e $formats/$1 ]] || cat "/usr/lib/binfmt.d/$1.conf" >$formats/register
}

# make ARCHITECTURE ROOT PACKAGES: the emulated system, unless it is there.
make() {
    [[ ! -e $2/finished ]] || return 0
    if [[ -e $2 ]]; then
        echo "$2 is there, but was not finished: remove it" >&2
        return 1
    fi
    say "making a Debian for $1"
    debootstrap --arch="$1" --variant=minbase --include="$3" bookworm "$2" $MIRROR
    touch "$2/finished"
}

# enter ROOT COMMAND...: run something at the checkout in the emulated system. It gets nothing of this one's
# environment but the way to the package index.
enter() {
    local root=$1 name passed=()
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [[ -z ${!name-} ]] || passed+=("$name=${!name}")
    done
    passed+=("PIP_INDEX_URL=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null ||
        echo https://pypi.org/simple)}")
    shift
    env --ignore-environment "${passed[@]}" PIP_CERT=$CERTIFICATES PIP_QUIET=1 CI=true SLOWNESS=$SLOWNESS \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        chroot "$root" env --chdir=$CHECKOUT "$@"
}

# inside ARCHITECTURE ROOT: what is done in the namespaces.
inside() {
    local architecture=$1 root=$2
    case $architecture in
    arm64)
        register qemu-aarch64
        make "$architecture" "$root" $PACKAGES
        ;;
    armhf)
        register qemu-arm
        make "$architecture" "$root" $PACKAGES
        ;;
    esac
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    cp --remove-destination --dereference /etc/resolv.conf /etc/hosts "$root/etc/"
    cp --dereference $CERTIFICATES "$root$CERTIFICATES"

    say "installing on $architecture"
    rm -rf "$root$CHECKOUT"
    mkdir "$root$CHECKOUT"
    git ls-files -z | tar --create --null --files-from=- | tar --extract --no-same-owner --directory "$root$CHECKOUT"
    enter "$root" python3 -m venv .venv
    enter "$root" .venv/bin/pip install -e '.[test]'

    say "the tests on $architecture"
    enter "$root" .venv/bin/pytest "${PYTEST[@]}"

    say "the footprint on $architecture"
    enter "$root" .venv/bin/python benchmarks/footprint.py
}

main() {
    local folder='' architecture failed=0 told=()
    if [[ ${1-} == --in ]]; then
        folder=$(realpath "$2")
        mkdir -p "$folder"
        shift 2
    fi
    (($#)) || set -- arm64 armhf
    for architecture; do
        if [[ $architecture != arm64 && $architecture != armhf ]]; then
            echo "neither arm64 nor armhf: $architecture" >&2
            return 2
        fi
    done
    if [[ -z $folder ]]; then
        folder=$(mktemp -d)
        trap 'rm -rf --one-file-system "$folder"' EXIT
    fi
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    trap 'exit 130' INT # else a Ctrl-C, which ends what runs for one architecture, would begin with the next
    for architecture; do
        SECONDS=0
        # Each of the three ends with the one before it, even by SIGKILL.
        if setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc \
            benchmarks/arm.sh --inside "$architecture" "$folder/$architecture"; then
            told+=("$architecture: all is well, after $((SECONDS / 60)) minutes")
        else
            told+=("$architecture: something failed, after $((SECONDS / 60)) minutes")
            failed=1
        fi
    done
    say "the end"
    printf '%s\n' "${told[@]}"
    return $failed
}

if [[ ${1-} == --inside ]]; then
    inside "$2" "$3"
else
    main "$@"
fi
