"""`python -m nkilab`: the command; `python -m nkilab script.py …` runs a script with the finder for `import nki`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from nkilab.command import main


def run(arguments: list[str]) -> int:
    """Run a script as `python script.py …` would, or the command, and give the exit status."""
    if not arguments or not arguments[0].endswith(".py"):
        return main(arguments)
    script = Path(arguments[0])
    if not script.is_file():
        sys.stderr.write(f"nkilab: there is no script {script}\n")
        return 2
    sys.argv = arguments
    sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
