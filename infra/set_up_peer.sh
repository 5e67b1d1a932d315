#!/usr/bin/env bash
# Makes a virtual environment for a peer whose packages do not agree with the lock file: UV PYTHON FOLDER PACKAGE...
# CPU torch is taken from (1) a folder named by PIP_FIND_LINKS, (2) PyTorch's own CPU index, (3) the default index, as in
# set_up.sh: what that one has found lies in uv's cache by now.
set -euo pipefail
uv=$1 python=$2 folder=$3
shift 3

rm -f "$folder/.installed" # what it held is about to change
# --clear: a folder without a python that runs is of an interpreter that is gone.
[ -x "$folder/bin/python" ] || "$uv" venv --quiet --clear --python "$python" "$folder"
install=("$uv" pip install --quiet --python "$folder/bin/python" "$@")

links=()
for place in ${PIP_FIND_LINKS:-}; do
    # uv treats a missing folder as an error, pip does not: pass only folders that hold wheels.
    compgen -G "$place/torch-*.whl" >/dev/null && links+=(--find-links "$place")
done

if ! { [ ${#links[@]} -gt 0 ] && "${install[@]}" "${links[@]}"; }; then
    "${install[@]}" --torch-backend cpu || "${install[@]}"
fi
echo "$@" >"$folder/.installed" # last: where it names the packages, the environment is whole
