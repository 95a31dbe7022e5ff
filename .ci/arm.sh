#!/usr/bin/env bash
# fastff's HEAD on 64-bit Arm, emulated by qemu on Debian or Ubuntu: .ci/arm.sh [PYTHON'S ARGUMENTS ...]
# Without arguments it trains three epochs, compares its results with the record, and tests kernels and edge cases.
#
# An Arm Python and its wheels stay in ${FASTFF_ARM_DIR:-$HOME/.cache/fastff-arm}: files that are unpacked and not
# installed, so that this needs neither a root of its own nor to be root. QEMU_CPU=neoverse-n1 is a CPU without BF16.
# Emulation shows neither speed nor that memory is ordered weakly, and a process cannot start another one on Arm: the
# tests that do so are left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=${FASTFF_ARM_DIR:-$HOME/.cache/fastff-arm}
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git archive HEAD | tar -x -C "$source"

if ! command -v qemu-aarch64-static > /dev/null; then
    apt-get update -qq
    apt-get install -qqy --no-install-recommends qemu-user-static > /dev/null
fi

if [[ ! -e $base/files/usr/bin/python3 ]]; then
    # apt as on an Arm machine without any package: it finds what Python needs, and checks what it downloads
    apt=$(mktemp -d)
    mkdir -p "$apt"/{lists,archives}/partial "$base"
    touch "$apt/status"
    options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= -o Dir::Cache="$apt"
        -o Dir::State::Lists="$apt/lists" -o Dir::State::status="$apt/status")
    apt-get "${options[@]}" update
    apt-get "${options[@]}" install -y --download-only --no-install-recommends python3 libstdc++6 > /dev/null
    for package in "$apt"/archives/*.deb; do dpkg -x "$package" "$base/unpacked"; done
    mv "$base/unpacked" "$base/files"
    rm -rf "$apt"
fi
python=$(readlink -f "$base/files/usr/bin/python3")

if ! cmp -s pyproject.toml "$base/pyproject.toml"; then # the wheels that it wants, by this machine's pip
    rm -rf "$base/site"
    platforms=(--platform manylinux2014_aarch64)
    for version in 2_28 2_27 2_26 2_24 2_17; do platforms+=(--platform "manylinux_${version}_aarch64"); done
    python3 -m venv "$source/pip"
    "$source/pip/bin/pip" install --quiet --upgrade 'pip>=25.1' # the first that knows --group
    (cd "$source" && pip/bin/pip install --quiet --no-compile --only-binary=:all: --implementation cp "${platforms[@]}" \
        --python-version "${python##*python}" --target "$base/site" --group test .)
    rm -rf "$base"/site/fastff*
    cp pyproject.toml "$base/"
fi

export QEMU_LD_PREFIX=$base/files QEMU_CPU=${QEMU_CPU:-max} PYTHONPATH=$source:$base/site PYTHONDONTWRITEBYTECODE=1
export FASTFF_CACHE_DIR=$source/cache OPENBLAS_NUM_THREADS=1
arm() {
    printf '\n### on Arm: python %s\n' "$*"
    qemu-aarch64-static "$python" "$@"
}

cd "$source"
if [[ $# -gt 0 ]]; then
    arm "$@"
    exit
fi
tests() {
    arm -m pytest -q -m "not slow" --hypothesis-profile=small -p no:cacheprovider "$@"
}
# Side by side, as emulation takes its time; bfloat16 is multiplied by the CPU's own instructions
{
    arm -m fastff.train --epochs 3 --out "$source/run"
    FASTFF_BF16=neon tests tests/kernels/test_bfloat16.py -k "whatever or halves or nan"
    tests tests/promises/test_edges.py
} > "$source/training" 2>&1 &
{ arm tests/promises/one_result.py --compare && tests tests/kernels -k "not test_cache and not test_bfloat16"; } ||
    { wait; exit 1; }
wait $! || { cat "$source/training"; exit 1; }
cat "$source/training"
