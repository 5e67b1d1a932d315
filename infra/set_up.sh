#!/usr/bin/env bash
# Makes .venv from the lock file. Needs only Python 3.11+ with pip and the network or a folder of wheels.
# CPU torch is taken from (1) a folder named by PIP_FIND_LINKS, (2) PyTorch's own CPU index, (3) the default index.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}

"$python" - <<'CHECK' || { echo "set-up: Python 3.11 or newer is needed; set PYTHON to one, as in: make demo PYTHON=python3.12" >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
CHECK

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
uv=("$venv/bin/uv" pip install --python "$venv/bin/python" --compile-bytecode --quiet -r requirements.lock)

links=()
for place in ${PIP_FIND_LINKS:-}; do
    # uv treats a missing folder as an error, pip does not: pass only folders that hold wheels.
    compgen -G "$place/torch-*.whl" >/dev/null && links+=(--find-links "$place")
done

if [ ${#links[@]} -gt 0 ] && "${uv[@]}" "${links[@]}"; then
    echo "set-up: installed the lock file; torch came from the wheel folder in PIP_FIND_LINKS"
elif "${uv[@]}" --torch-backend cpu; then
    echo "set-up: installed the lock file; torch is the CPU build of PyTorch's index"
else
    echo "set-up: PyTorch's CPU index was out of reach; taking torch from the default index (it may bring CUDA packages, several GB)"
    "${uv[@]}"
fi
"$venv/bin/uv" pip install --python "$venv/bin/python" --quiet --no-deps --no-build-isolation -e .
touch "$venv/.installed"
