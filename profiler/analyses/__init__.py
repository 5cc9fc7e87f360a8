"""Analyses: pure functions from a `Profile` to a frozen answer that prints, tabulates and serialises itself."""
