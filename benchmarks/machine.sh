#!/usr/bin/env bash
# Does the logger keep its promises on a real system? A Debian with systemd in QEMU, installed as docs/install-pi.md
# says; then no network, no Redis, full and read-only disks, power cuts, wrong clocks, updates, and another Redis. How
# much does it write to the disks there?
#
#     sudo benchmarks/machine.sh [--in FOLDER] [--mirror URL] [PART ...]
#
# It takes two hours, without KVM. It needs root, a Debian, `apt install debootstrap qemu-system-x86 qemu-utils`, and a
# Python with this project's packages (.venv, or PYTHON). The Debian inside is that of this machine, from its own mirror.
# Its disks are created in a temporary folder, or in FOLDER, where they stay and are used again the next time, with the
# last commit of this repository. All that it can reach is the simulated Spotify on this machine. The parts are those of
# machine.py, by default all of them.
set -euo pipefail

PACKAGES=dbus,e2fsprogs,git,kmod,linux-image-cloud-amd64,python3-venv,sudo,systemd,systemd-sysv,udev
BUILD_PACKAGES=(argparse-manpage hatchling shtab) # `requires` in pyproject.toml

# make FOLDER MIRROR: create a kernel, and the disks of a new Debian with all that apt and pip will need.
make() {
    local folder=$1 root=$1/root suite mirror=$2
    suite=$(source /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016 # apt-get replaces it
    [[ $mirror ]] || mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" 'Origin: Debian' | head -n 1)
    rm -rf --one-file-system "$root" "${folder:?}/lib"
    debootstrap --variant=minbase --include=$PACKAGES "$suite" "$root" "$mirror"
    chroot "$root" apt-get clean
    chroot "$root" apt-get install --quiet --yes --download-only redis-server
    # By this machine's Debian, which is the same: what is needed depends on the version of Python.
    /usr/bin/python3 -m venv "$folder/builder"
    "$folder/builder/bin/pip" wheel --quiet --wheel-dir "$root/root/wheels" "${BUILD_PACKAGES[@]}" '.[embedded,web]'
    rm -r "$folder/builder" "$root"/root/wheels/spotify_logger-*
    printf '[global]\nno-index = true\nfind-links = /root/wheels\n' >"$root/etc/pip.conf"

    echo raspberrypi >"$root/etc/hostname"
    echo 127.0.0.1 localhost raspberrypi >"$root/etc/hosts"
    printf '/dev/vd%s ext4 noatime,errors=remount-ro 0 1\n' 'a /' 'b /var/lib' 'c /srv' >"$root/etc/fstab"
    mkdir -p "$root/var/log/journal" # so that the journal is kept
    printf '[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' \
        >"$root/etc/systemd/network/ether.network"
    # A root shell for the host, and a Spotify at 127.0.0.1:9000, because others need a certificate that is trusted.
    unit "$root" agent.service 'ExecStart=/bin/bash -c "exec bash <>/dev/virtio-ports/agent >&0 2>&0"' \
        Restart=always RestartSec=1 Environment=HOME=/root
    unit "$root" spotify.service 'ExecStart=/lib/systemd/systemd-socket-proxyd 10.0.2.2:${PORT}' \
        EnvironmentFile=/etc/spotify
    printf '[Socket]\nListenStream=127.0.0.1:9000\n[Install]\nWantedBy=sockets.target\n' \
        >"$root/etc/systemd/system/spotify.socket"
    chroot "$root" systemctl --quiet enable systemd-networkd agent spotify.socket

    chroot "$root" useradd --create-home --shell /bin/bash pi
    echo 'pi ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/pi"

    cp --dereference "$root"/boot/vmlinuz-* "$folder/kernel"
    cp --dereference "$root"/boot/initrd.img-* "$folder/initrd"
    mv "$root/var/lib" "$folder/lib"
    mkdir "$root/var/lib"
    disk "$folder" lib 1G
    disk "$folder" root 3G
    touch "$folder/finished"
}

# disk FOLDER NAME SIZE: turn a folder there into a disk, initialized at once: the kernel's writes would be counted.
disk() {
    mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 -d "$1/$2" "$1/$2.ext4" "$3"
    rm -rf --one-file-system "${1:?}/$2"
}

# unit ROOT NAME LINE...: create a service that starts with the system.
unit() {
    local root=$1 name=$2
    shift 2
    printf '%s\n' '[Service]' "$@" '[Install]' 'WantedBy=multi-user.target' >"$root/etc/systemd/system/$name"
}

main() {
    local folder='' mirror=''
    while [[ ${1-} == --* ]]; do
        case $1 in
        --in) folder=$(realpath "$2") ;;
        --mirror) mirror=$2 ;;
        *) echo "unknown option: $1" >&2 && return 2 ;;
        esac
        shift 2
    done
    if [[ -z $folder ]]; then
        folder=$(mktemp -d)
        trap 'rm -rf --one-file-system "$folder"' EXIT
    fi
    mkdir -p "$folder"
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    PYTHON=${PYTHON:-$PWD/.venv/bin/python}
    [[ -e $folder/finished ]] || make "$folder" "$mirror"
    rm -rf "${folder:?}/srv"
    git clone --quiet --bare . "$folder/srv/spotify-logger.git"
    chown -R 1000:1000 "$folder/srv/spotify-logger.git" # pi
    disk "$folder" srv 100M
    "$PYTHON" benchmarks/machine.py "$folder" "$@"
}

main "$@"
