"""Stands in for nkipy's spike: the names that its public uses show."""

from nrtpy import NrtpyModel as SpikeModel
from nrtpy import NrtpyTensor as SpikeTensor

__all__ = ["SpikeModel", "SpikeTensor"]
