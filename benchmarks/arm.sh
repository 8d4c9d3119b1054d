#!/usr/bin/env bash
# Does everything work on a Raspberry Pi? Runs the tests, and the benchmarks of the footprint and the answers, in an
# emulated Debian 12.
#
#     sudo benchmarks/arm.sh [--in FOLDER] [arm64|armhf ...]
#
# It takes half an hour per architecture, so run it only now and then. It needs root, a Debian, git, and
# `apt install debootstrap qemu-user-static`. The systems are created in a temporary folder, or in FOLDER, where they
# stay and are used again the next time.
#
# Everything is mounted and started in separate namespaces, which the kernel removes when this script ends, however it
# ends: so nothing is mounted where files are deleted, and no process is left behind. The only lasting change is that
# the kernel knows how to run ARM programs from then on.
set -euo pipefail

MIRROR=http://deb.debian.org/debian
# What the tests use besides Python: certificates, systemd-analyze for the units, and a Redis, since the Valkey wheel
# does not exist for 32 bits.
PACKAGES=python3-venv,openssl,systemd,redis-server
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
# Where the checkout is, inside the emulated system.
CHECKOUT=/root/spotify-logger

SLOWNESS=4 # how much slower an emulated processor is
PYTEST=(
    -n "$(nproc)"
    --timeout 1800
    --ignore tests/web/test_browser.py # Chromium is not expected to run in QEMU's user mode
)

say() { printf '\n== %s\n' "$*"; }

# register QEMU: let the kernel run the programs of an architecture with this emulator, unless it does already.
register() {
    local formats=/proc/sys/fs/binfmt_misc
    [[ -e $formats/register ]] || mount -t binfmt_misc binfmt_misc $formats
    [[ -e $formats/$1 ]] || cat "/usr/lib/binfmt.d/$1.conf" >$formats/register
}

# make ARCHITECTURE ROOT PACKAGES: create the emulated system, unless it exists.
make() {
    [[ ! -e $2/finished ]] || return 0
    if [[ -e $2 ]]; then
        echo "$2 exists but is incomplete: remove it" >&2
        return 1
    fi
    say "creating a Debian for $1"
    debootstrap --arch="$1" --variant=minbase --include="$3" bookworm "$2" $MIRROR
    touch "$2/finished"
}

# enter ROOT COMMAND...: run a command in the checkout in the emulated system. Of the environment, it gets only what
# is needed to reach the package index.
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

# inside ARCHITECTURE ROOT: what runs in the namespaces.
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

    say "the answers on $architecture"
    enter "$root" .venv/bin/python benchmarks/answers.py --plays 100000
}

main() {
    local folder='' architecture failed=0 results=()
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
    trap 'exit 130' INT # otherwise, Ctrl-C would only end this architecture, and the next one would begin
    for architecture; do
        SECONDS=0
        # Each of the three programs ends with its parent, even after a SIGKILL.
        if setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc \
            benchmarks/arm.sh --inside "$architecture" "$folder/$architecture"; then
            results+=("$architecture: passed after $((SECONDS / 60)) minutes")
        else
            results+=("$architecture: failed after $((SECONDS / 60)) minutes")
            failed=1
        fi
    done
    say "results"
    printf '%s\n' "${results[@]}"
    return $failed
}

if [[ ${1-} == --inside ]]; then
    inside "$2" "$3"
else
    main "$@"
fi
