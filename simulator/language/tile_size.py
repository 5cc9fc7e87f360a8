"""`nl.tile_size`: limits of the target, read from its hardware table."""

from __future__ import annotations

from nkilab.hardware import Hardware, load

from ..context import running
from ..deprecated import deprecated
from ..sim import default_target
from ..tensor import NKIObject

_FP32 = 4


class TileSize(NKIObject):
    """Tile size limits. Inside a kernel those of its target, outside those of the default target."""

    __slots__ = ()

    @property
    def _hardware(self) -> Hardware:
        context = running()
        return context.hardware if context is not None else load(default_target())

    @property
    def pmax(self) -> int:
        """Most partitions of a tile."""
        return self._hardware.sbuf.partitions

    @property
    def psum_bank_fmax(self) -> int:
        """fp32 elements of one PSUM bank in a partition."""
        return self._hardware.psum.bank_bytes // _FP32

    @property
    def psum_fmax(self) -> int:
        """Deprecated name of `psum_bank_fmax`."""
        deprecated("nl.tile_size.psum_fmax", "nl.tile_size.psum_bank_fmax")
        return self.psum_bank_fmax

    @property
    def psum_bank_fmax_bytes(self) -> int:
        """Bytes of one PSUM bank in a partition."""
        return self._hardware.psum.bank_bytes

    @property
    def gemm_stationary_fmax(self) -> int:
        """Most elements per partition of a matmul's stationary tile."""
        return self._hardware.tensor.stationary_max

    @property
    def gemm_moving_fmax(self) -> int:
        """Most elements per partition of a matmul's moving tile (one PSUM bank of fp32)."""
        return self._hardware.tensor.moving_max

    @property
    def bn_stats_fmax(self) -> int:
        """Most elements per partition of `nisa.bn_stats`."""
        return self._hardware.vector.max_free_bn_stats

    @property
    def psum_min_align(self) -> int:
        """Least alignment of a PSUM address within a partition, in bytes."""
        return _FP32

    @property
    def sbuf_min_align(self) -> int:
        """Least alignment of an SBUF address within a partition, in bytes."""
        return 1

    @property
    def psum_num_banks(self) -> int:
        """PSUM banks of a partition."""
        return self._hardware.psum.banks

    @property
    def sbuf_size_bytes(self) -> int:
        """Bytes of SBUF, all partitions together."""
        return self._hardware.sbuf.partitions * self._hardware.sbuf.partition_bytes

    @property
    def sbuf_fmax(self) -> int:
        """fp32 elements of one SBUF partition."""
        return self._hardware.sbuf.partition_bytes // _FP32

    @property
    def sbuf_fmax_bytes(self) -> int:
        """Bytes of one SBUF partition."""
        return self._hardware.sbuf.partition_bytes

    @property
    def total_available_sbuf_size(self) -> int:
        """Deprecated name of `sbuf_fmax_bytes`."""
        deprecated("nl.tile_size.total_available_sbuf_size", "nl.tile_size.sbuf_fmax_bytes")
        return self.sbuf_fmax_bytes
