#!/bin/sh
# Make the virtual environment $VENV with a Python from 3.11 to 3.14 ($PYTHON first, if set); keep a usable one.
set -eu

suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }
complete() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }

if suitable "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then exit 0; fi

found=""
for python in ${PYTHON:-} python3.13 python3.12 python3.14 python3.11 python3 python; do
    suitable "$python" || continue
    if complete "$python"; then
        exec "$python" -m venv --clear "$VENV"
    fi
    found="$python"
done

if [ -n "$found" ]; then
    version=$("$found" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    echo "$found has no venv: install it, for example: apt-get install $version-venv" >&2
else
    echo "nkilab needs Python 3.11 to 3.14 with venv: install it, for example: apt-get install python3.12 python3.12-venv" >&2
fi
exit 1
