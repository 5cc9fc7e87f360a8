"""A decoder block twice: `plain.py` as one writes it first, `fused.py` out of nkilab's kernels; walked through in docs/walk.md."""
