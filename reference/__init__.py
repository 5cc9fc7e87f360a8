"""NumPy references for the kernels: one file per kernel file, same names, same order of array arguments."""
