"""NKI kernels: plain source that compiles on Trainium, one file per family; each has a NumPy twin in `reference/`.

They are written for NKI 0.7, whose compiler runs a kernel's Python: classes and generators arrange the instructions.
"""
