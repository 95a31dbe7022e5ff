#!/usr/bin/env bash
# fastff's HEAD on older x86-64 CPUs, emulated by qemu on Debian or Ubuntu, by the python3 of PATH and what it can import:
# Haswell (2013) has AVX2 and FMA, and must give what golden.json has for them; Nehalem (2008) has neither, and gives what
# is recorded as "without FMA". Each trains an epoch and compares its hashes. A process started from there is not emulated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git archive HEAD | tar -x -C "$source"

if ! command -v qemu-x86_64-static > /dev/null; then
    apt-get update -qq
    apt-get install -qqy --no-install-recommends qemu-user-static > /dev/null
fi

python=$(command -v python3)
export PYTHONPATH=$source FASTFF_CACHE_DIR=$source/cache OPENBLAS_NUM_THREADS=1
cd "$source"
on() {
    printf '\n### on %s: python %s\n' "$cpu" "$*"
    qemu-x86_64-static -cpu "$cpu" "$python" "$@" 2> >(grep -v "TCG doesn't support requested feature" >&2)
}
try() {
    cpu=$1
    on -m fastff.train --epochs 1 --out "$source/$cpu" &&
        on -m pytest "tests/promises/test_golden.py::test_float32_in_this_process[2]" -q -p no:cacheprovider
}
try Haswell > "$source/Haswell.log" 2>&1 & # side by side, as emulation takes its time
try Nehalem || { wait; exit 1; }
wait $! || { cat "$source/Haswell.log"; exit 1; }
cat "$source/Haswell.log"
