"""Profiles of Trainium kernels: one table schema, readers for every source, analyses and views."""

from __future__ import annotations

from .profile import Origin, Profile

__all__ = ["Origin", "Profile"]
