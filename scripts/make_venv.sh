#!/bin/sh
# make_venv.sh DIRECTORY PYTHON...: make a virtual environment with the first Python that is new enough.
set -eu

directory=$1
shift

for python in "$@"; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "error: $("$python" --version) has no venv module, which makes $directory."
            echo "  Debian, Ubuntu: sudo apt install python3-venv   (or python3.12-venv, to match your Python)"
            exit 2
        fi
        echo "Making $directory with $("$python" --version)."
        exec "$python" -m venv --clear "$directory"
    fi
done

echo "error: Python 3.11 or newer is needed; tried:"
for python in "$@"; do
    echo "  $python: $("$python" --version 2>&1 || true)"
done
echo "  Install one (https://www.python.org/downloads/), or name it: make PYTHON=/path/to/python3.12 ..."
exit 2
