#!/bin/sh
# Run systemd in a root of its own. Two steps lead there, and nothing of the host can be seen from behind the first:
#   outside   a cgroup and namespaces of its own
#   between   the root file system is /, read-only, the host's is gone; systemd-nspawn of that root is executed
# systemd-nspawn adds the third: an overlay in memory of the same root, with a /tmp, /run, /dev of its own.
#
# container.sh CGROUP ROOT [ARGUMENT ...]: a directory of cgroup v2 that is there; the root file system; what
# systemd is told. Its exit status is that of the systemd.
set -eu

outside() {
    echo $$ > "$1/cgroup.procs"
    shift
    exec unshare --mount --uts --ipc --net --cgroup --pid --fork --kill-child --propagation private \
        sh "$0" --between "$@"
}

between() {
    root=$1
    shift
    mount --bind "$root" "$root"
    mount -o remount,bind,ro "$root"
    cd "$root"
    mount --bind "$root" mnt
    mount -t proc proc proc
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs tmpfs tmp
    mount -t tmpfs tmpfs run
    make_devices
    pivot_root . media
    umount -l /media
    prove_that_the_host_is_gone
    exec /usr/bin/systemd-nspawn --quiet --register=no --keep-unit --private-network --directory=/mnt \
        --volatile=overlay --console=read-only --hostname=nh-trial --link-journal=no \
        --capability=CAP_BPF,CAP_NET_ADMIN --system-call-filter=bpf --boot "$@"
}

make_devices() {
    mount -t tmpfs -o mode=755 tmpfs dev
    mknod -m 666 dev/null c 1 3
    mknod -m 666 dev/zero c 1 5
    mknod -m 666 dev/full c 1 7
    mknod -m 666 dev/random c 1 8
    mknod -m 666 dev/urandom c 1 9
    mknod -m 666 dev/tty c 5 0
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
}

# Whatever systemd may do to / must not be able to reach anything but what is named here.
prove_that_the_host_is_gone() {
    while read -r _ _ _ _ target _; do
        case $target in
            / | /mnt | /proc | /sys | /sys/fs/cgroup | /tmp | /run | /dev | /dev/pts) ;;
            *)
                echo "container.sh: $target is still mounted" >&2
                exit 3
                ;;
        esac
    done < /proc/self/mountinfo
    for place in / /etc /mnt /var; do
        if touch "$place/written" 2> /dev/null; then
            echo "container.sh: $place can be written" >&2
            exit 3
        fi
    done
}

if [ "$1" = --between ]; then
    shift
    between "$@"
else
    outside "$@"
fi
