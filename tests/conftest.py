"""What all tests share. Importing nkilab here puts the finder for `import nki` in place before any test is collected."""

from __future__ import annotations

import os
from pathlib import Path

# Tiles are small, and the tests run side by side: one thread each. BLAS reads this when NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

import nkilab  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_profiles() -> Path:
    """The folder of real Trainium profiles: `shared/profiles`, looked for beside the checkout and above it."""
    for parent in ROOT.parents:
        folder = parent / "shared" / "profiles"
        if folder.is_dir():
            return folder
    pytest.skip("no folder shared/profiles with real Trainium profiles beside the checkout or above it")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout under test."""
    return ROOT
