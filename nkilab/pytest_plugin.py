"""The pytest plugin: importing nkilab puts the finder for `import nki` in place before tests are collected."""

from __future__ import annotations

import nkilab


def pytest_report_header() -> str:
    """The line that pytest prints about nkilab."""
    return f"nkilab {nkilab.__version__}: `import nki` is the vendor's package where installed, else the simulator"
