"""The `neuronxcc` package where the vendor's compiler is not installed: only its old namespace `neuronxcc.nki`."""

from . import nki

__path__: list[str] = []
__all__ = ["nki"]
