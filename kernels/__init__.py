"""NKI kernels: plain source that compiles on Trainium, one file per family; each has a NumPy twin in `reference/`."""
