"""The NKI data types: one table of names, widths, NumPy storage and the NeuronCore generations that have them.

Source of the table: "Supported Data Types" of `nki.api.shared`, the constants of `nki.language`, and for the width of the
packed types the MXFP guide ("Data Tensor": fp8 quads are 32 bits wide, fp4 quads 16).

`float8_e4m3` is the vendor's legacy fp8. It is IEEE-like: exponent 15 holds inf and NaN, and the largest finite value is
240 (the fp8 tutorials rescale weights from +-448 to +-240 for Trn2 and call the format "FP8_EXP4 (IEEE-754)"), which is
`ml_dtypes.float8_e4m3`. `float8_e4m3fn` is the OCP type: no inf, one NaN, largest finite value 448; native from Trn3 on
(compiler error EVRF051).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

import ml_dtypes
import numpy as np

from nkilab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["float", "int", "bool", "scale", "packed"]

_ALL = (2, 3, 4)
_GEN4 = (4,)


@dataclass(frozen=True, slots=True)
class _Format:
    storage: np.dtype[Any]
    host: np.dtype[Any]
    kind: Kind
    generations: tuple[int, ...]
    lane: np.dtype[Any] | None = None
    relaxed: bool = False


class DType(str):
    """An NKI data type: a string to Python (`nl.float32 == "float32"`), with its storage beside it.

    `np.dtype(dtype)` works for every type that NumPy or ml_dtypes has; tfloat32 and the x4 types have no such twin:
    use `.storage`. `.relaxed` is the same name stored as float32, for `precise=False`.
    """

    __slots__ = ("_format",)
    _format: _Format

    def __new__(cls, name: str, storage_format: _Format) -> Self:
        self = super().__new__(cls, name)
        object.__setattr__(self, "_format", storage_format)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a data type is constant: {name} cannot be set")

    def __repr__(self) -> str:
        return f"nl.{'bool_' if self == 'bool' else str(self)}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (str(self), self.is_relaxed))

    @property
    def storage(self) -> np.dtype[Any]:
        """NumPy dtype of the stored elements (uint32/uint16 words for packed types, uint8 for bool)."""
        return self._format.storage

    @property
    def host(self) -> np.dtype[Any]:
        """NumPy dtype of a kernel's argument or result of this type: storage, except bool."""
        return self._format.host

    @property
    def itemsize(self) -> int:
        """Bytes of one stored element; of four lanes for a packed type."""
        return self._format.storage.itemsize

    @property
    def kind(self) -> Kind:
        """`float`, `int`, `bool`, `scale` (float8_e8m0fnu) or `packed` (x4)."""
        return self._format.kind

    @property
    def generations(self) -> tuple[int, ...]:
        """NeuronCore generations (2 Trn1, 3 Trn2, 4 Trn3) whose engines have the type."""
        return self._format.generations

    @property
    def lane(self) -> np.dtype[Any]:
        """ml_dtypes type of one of the four lanes of a packed type; `storage` for the others."""
        return self._format.lane or self._format.storage

    @property
    def is_float(self) -> bool:
        """Whether arithmetic sees it as a float (a relaxed type too); false for scales and packed types."""
        return self._format.kind == "float"

    @property
    def is_integer(self) -> bool:
        """Whether it is a signed or unsigned integer; false for bool."""
        return self._format.kind == "int"

    @property
    def is_signed(self) -> bool:
        """Whether it is a signed integer."""
        return self.is_integer and self._format.storage.kind == "i"

    @property
    def is_relaxed(self) -> bool:
        """Whether it is the float32-stored twin that `precise=False` uses."""
        return self._format.relaxed

    @property
    def relaxed(self) -> DType:
        """The same name stored as float32 if it is a float narrower than float32; itself otherwise.

        Source: NKI CPU simulator guide, "Precise Floating-Point Mode".
        """
        if not self.is_float or self == "float32" or self.is_relaxed:
            return self
        return DType(str(self), _Format(_F32, _F32, "float", self.generations, relaxed=True))


_F32 = np.dtype(np.float32)


def _entry(
    storage: Any, kind: Kind, generations: tuple[int, ...] = _ALL, *, host: Any = None, lane: Any = None
) -> _Format:
    words = np.dtype(storage)
    return _Format(words, np.dtype(host or words), kind, generations, np.dtype(lane) if lane else None)


_FORMATS: dict[str, _Format] = {
    "bool": _entry(np.uint8, "bool", host=np.bool_),
    "int8": _entry(np.int8, "int"),
    "int16": _entry(np.int16, "int"),
    "int32": _entry(np.int32, "int"),
    "int64": _entry(np.int64, "int"),
    "uint8": _entry(np.uint8, "int"),
    "uint16": _entry(np.uint16, "int"),
    "uint32": _entry(np.uint32, "int"),
    "float16": _entry(np.float16, "float"),
    "float32": _entry(np.float32, "float"),
    "bfloat16": _entry(ml_dtypes.bfloat16, "float"),
    "tfloat32": _entry(np.float32, "float"),
    "float8_e4m3": _entry(ml_dtypes.float8_e4m3, "float"),
    "float8_e4m3fn": _entry(ml_dtypes.float8_e4m3fn, "float", _GEN4),
    "float8_e5m2": _entry(ml_dtypes.float8_e5m2, "float"),
    "float8_e8m0fnu": _entry(ml_dtypes.float8_e8m0fnu, "scale", _GEN4),
    "float8_e4m3fn_x4": _entry(np.uint32, "packed", _GEN4, lane=ml_dtypes.float8_e4m3fn),
    "float8_e5m2_x4": _entry(np.uint32, "packed", _GEN4, lane=ml_dtypes.float8_e5m2),
    "float4_e2m1fn_x4": _entry(np.uint16, "packed", _GEN4, lane=ml_dtypes.float4_e2m1fn),
}

TABLE: Mapping[str, DType] = MappingProxyType({name: DType(name, entry) for name, entry in _FORMATS.items()})
"""Every data type by name. int64 is no tile type of NKI: it exists for kernel arguments and `nisa.scalar_load`."""

_ALIASES = MappingProxyType({"bool_": "bool"})
_UNIQUE_STORAGE = MappingProxyType(
    {entry.host: name for name, entry in _FORMATS.items() if entry.kind != "packed" and name != "tfloat32"}
)

bool_ = TABLE["bool"]
int8 = TABLE["int8"]
int16 = TABLE["int16"]
int32 = TABLE["int32"]
int64 = TABLE["int64"]
uint8 = TABLE["uint8"]
uint16 = TABLE["uint16"]
uint32 = TABLE["uint32"]
float16 = TABLE["float16"]
float32 = TABLE["float32"]
bfloat16 = TABLE["bfloat16"]
tfloat32 = TABLE["tfloat32"]
float8_e4m3 = TABLE["float8_e4m3"]
float8_e4m3fn = TABLE["float8_e4m3fn"]
float8_e5m2 = TABLE["float8_e5m2"]
float8_e8m0fnu = TABLE["float8_e8m0fnu"]
float8_e4m3fn_x4 = TABLE["float8_e4m3fn_x4"]
float8_e5m2_x4 = TABLE["float8_e5m2_x4"]
float4_e2m1fn_x4 = TABLE["float4_e2m1fn_x4"]


def _restore(name: str, relaxed: bool) -> DType:
    return TABLE[name].relaxed if relaxed else TABLE[name]


def get(dtype: object) -> DType:
    """The NKI data type that `dtype` names.

    Args:
        dtype: a `DType`, a name (`"float32"`, `"bool_"`, `"torch.bfloat16"`), or anything `np.dtype` takes
            (`np.float16`, `ml_dtypes.bfloat16`, `jnp.float32`), or a torch dtype.

    Raises:
        UsageError: NKI has no such type.
    """
    if isinstance(dtype, DType):
        return dtype
    return _by_name(str(dtype).removeprefix("torch.")) or _by_numpy(dtype)


@lru_cache(maxsize=256)
def _by_name(name: str) -> DType | None:
    return TABLE.get(_ALIASES.get(name, name))


def _by_numpy(dtype: object) -> DType:
    try:
        storage = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        storage = None
    if dtype is None or storage is None or storage not in _UNIQUE_STORAGE:
        near = get_close_matches(str(dtype), TABLE, n=1)
        raise UsageError(
            f"{dtype!r} is not an NKI data type",
            rule=f"the data types are {', '.join(TABLE)}",
            source="nki.api.shared, Supported Data Types",
            fix=f"did you mean nl.{near[0]}?" if near else "cast the array to one of these types first",
        )
    return TABLE[_UNIQUE_STORAGE[storage]]
