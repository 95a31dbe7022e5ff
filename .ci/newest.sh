#!/usr/bin/env bash
# fastff's HEAD on the newest Python that tox.ini and Debian's unstable both have, with the newest NumPy and all that pip
# finds for it: what a fresh machine has. As root, on Debian or Ubuntu: unstable is unpacked into a folder, which is
# removed at the end. Unstable is now and then broken: where it cannot be unpacked, a line says so and nothing fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${1:-} != mounted ]]; then
    exec unshare --mount "${BASH_SOURCE[0]}" mounted # what is mounted goes with the process
fi
debian=$(mktemp -d)
trap 'umount -R "$debian"/{proc,dev} 2> /dev/null || true; rm -rf --one-file-system "$debian" "$debian.log"' EXIT
mkdir "$debian"/{proc,dev}

inside() { chroot "$debian" env -u PIP_FIND_LINKS HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/tmp "$@"; }
unpack() {
    command -v debootstrap > /dev/null ||
        { apt-get update -qq && apt-get install -qqy --no-install-recommends debootstrap; } || return
    debootstrap --variant=minbase --include=ca-certificates unstable "$debian" || return
    mount -t proc proc "$debian/proc" && mount --rbind /dev "$debian/dev" || return
    # the network as this machine has it, certificates included
    cp /etc/resolv.conf /etc/hosts "$debian/etc/" && cp {,"$debian"}/etc/ssl/certs/ca-certificates.crt || return
    names=$(inside apt-cache pkgnames python3.) || return
    for version in 15 14; do
        if grep -qx "python3.$version" <<< "$names"; then break; fi
    done
    inside apt-get install -qqy --no-install-recommends "python3.$version-venv"
}
if ! unpack > "$debian.log" 2>&1; then
    tail -n 5 "$debian.log"
    echo "Debian's unstable cannot be had at the moment: the newest Python was not tried"
    exit
fi

mkdir "$debian/fastff"
git archive HEAD | tar -x -C "$debian/fastff"
inside bash -euc "
    cd /fastff
    python3.$version -m venv /root/venv
    /root/venv/bin/pip install --quiet tox .
    cd /root
    venv/bin/python -m fastff.train --epochs 3
    venv/bin/python /fastff/tests/promises/one_result.py --compare
    cd /fastff
    /root/venv/bin/tox run -e py3$version"
