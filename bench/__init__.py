"""Measurements of nkilab itself; run by `make bench`."""
