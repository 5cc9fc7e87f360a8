"""What every NKI instruction computes, as plain functions on NumPy arrays: no tensors, no memory, no checks."""
