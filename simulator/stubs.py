"""Type stubs of `nki` for editors on machines without the vendor's package, written from the simulator's own names."""

from __future__ import annotations

import enum
import inspect
import re
from types import ModuleType
from typing import Any

from . import constants
from .levels import ADDED, REMOVED
from .nki import collectives, compiler, isa, language
from .nki import typing as nki_typing

_FILES: dict[str, ModuleType] = {
    "nki/isa/__init__.pyi": isa,
    "nki/language.pyi": language,
    "nki/collectives.pyi": collectives,
    "nki/compiler.pyi": compiler,
    "nki/typing.pyi": nki_typing,
}
_ALIASES = {"engines": "engine", "commands": "reduce_cmd", "dge": "dge_mode", "oob": "oob_mode", "Pattern": "Any"}
_KNOWN = frozenset({"Any", "None", "Sequence", "Callable", "Iterator", "int", "float", "bool", "str", "tuple", "list"})
_BASES = ("NKIObject", "NkiGrid", "Exception", "tensor")
_PACKAGE = '''"""Stubs of AWS's Neuron Kernel Interface, written by nkilab."""

from collections.abc import Callable
from typing import Any

from . import collectives as collectives
from . import compiler as compiler
from . import isa as isa
from . import language as language
from . import typing as typing
from .compiler import CompileConfig, SpecializationConfig

def jit(
    fn: Any = None,
    *,
    compile_config: CompileConfig | None = None,
    specialization_config: SpecializationConfig | None = None,
    **kwargs: Any,
) -> Any: ...
def simulate(kernel: Any) -> Callable[..., Any]: ...
'''
_HEAD = """import builtins
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any

"""


def stubs(nki: str = "0.7") -> dict[str, str]:
    """The stub files by path within `typings/`, for an API level."""
    return (
        {"nki/__init__.pyi": _PACKAGE}
        | {path: _module(path, module, nki) for path, module in _FILES.items()}
        | {"nki/isa/constants.pyi": _constants(nki)}
    )


def _module(path: str, module: ModuleType, nki: str) -> str:
    name = path.removesuffix("/__init__.pyi").removesuffix(".pyi").replace("/", ".")
    hidden = set(ADDED.get(name, ()) if nki == "0.6" else REMOVED.get(name, ()))
    names = {key: value for key, value in sorted(vars(module).items()) if not key.startswith("_") and key not in hidden}
    own = {key: value for key, value in names.items() if not inspect.ismodule(value) and _ours(value)}
    outside = {base: f"from nki.language import {base}\n" for base in ("NkiTensor", "NKIObject") if base not in own}
    kinds = {key: value for key, value in own.items() if isinstance(value, type)}
    classes = [_class(key, kinds[key]) for key in sorted(kinds, key=lambda key: len(kinds[key].__mro__))]
    defined = {key for key, value in own.items() if isinstance(value, type)}
    functions = [_function(key, value, defined) for key, value in own.items() if inspect.isfunction(value)]
    rest = [
        f"{key}: {_kind(value, defined)}"
        for key, value in own.items()
        if not isinstance(value, type) and not inspect.isfunction(value)
    ]
    return _HEAD + "".join(outside.values()) + "\n" + "\n".join([*classes, *rest, *functions]) + "\n"


def _constants(nki: str) -> str:
    """`nki.isa.constants`: the enumerations of `nki.isa` and `nki.language` again."""
    hidden = ADDED["nki.isa"] if nki == "0.6" else ()
    names = [key for key, value in sorted(vars(constants).items()) if isinstance(value, enum.EnumType)]
    homes = {key: "isa" if hasattr(isa, key) else "language" for key in names if not key.startswith("_")}
    return "".join(
        f"from nki.{home} import {key} as {key}\n" for key, home in homes.items() if key not in hidden and key != "Enum"
    )


def _ours(value: Any) -> bool:
    module = getattr(value, "__module__", "") if isinstance(value, type) or callable(value) else type(value).__module__
    return "nkilab.simulator" in str(module)


def _kind(value: Any, defined: set[str]) -> str:
    kind = type(value).__name__
    return kind if kind in defined else "Any"


def _class(name: str, value: type) -> str:
    if issubclass(value, enum.Enum):
        members = "".join(f"    {key} = {member.value!r}\n" for key, member in value.__members__.items())
        return f"class {name}(Enum):\n{members}"
    body = [_method(key, item) for key, item in vars(value).items() if _shown(key, item)]
    fields = [f"    {key}: Any" for key in vars(value).get("__annotations__", {}) if not key.startswith("_")]
    base = value.__mro__[1].__name__
    head = f"class {name}({base}):" if base in _BASES else f"class {name}:"
    return "\n".join([head, *([*fields, *body] or ["    ..."])]) + "\n"


def _shown(key: str, item: Any) -> bool:
    wanted = key in ("__init__", "__getitem__", "__setitem__") or not key.startswith("_")
    return wanted and (inspect.isfunction(item) or isinstance(item, property | staticmethod | classmethod))


def _method(name: str, item: Any) -> str:
    if isinstance(item, property):
        return f"    @property\n    def {name}(self) -> Any: ..."
    decorator = f"    @{type(item).__name__}\n" if isinstance(item, staticmethod | classmethod) else ""
    function = item.__func__ if decorator else item
    return f"{decorator}    def {name}{_signature(function, set())}: ..."


def _function(name: str, function: Any, defined: set[str]) -> str:
    first = (inspect.getdoc(function) or "").split("\n", 1)[0].replace("\\", "\\\\").replace('"""', "'''")
    return f'def {name}{_signature(function, defined)}:\n    """{first}"""\n'


_STARS = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}


def _signature(function: Any, defined: set[str]) -> str:
    parts, keyword = [], False
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword:
            parts.append("*")
            keyword = True
        stars = _STARS.get(parameter.kind.name, "")
        keyword |= stars == "*"
        note = "" if parameter.name == "self" else f": {_annotation(parameter.annotation, defined)}"
        default = "" if parameter.default is parameter.empty else " = ..."
        parts.append(f"{stars}{parameter.name}{note}{default}")
    result = "None" if function.__name__ == "__init__" else _annotation(signature.return_annotation, defined)
    return f"({', '.join(parts)}) -> {result}"


def _annotation(note: Any, defined: set[str]) -> str:
    """An annotation with the names that the stub has; any other one becomes Any."""
    text = note if isinstance(note, str) else "Any"
    text = re.sub(r"[A-Za-z_][\w.]*", lambda m: _ALIASES.get(m[0], m[0]), text)
    names = set(re.findall(r"[A-Za-z_][\w.]*", text))
    if not names <= _KNOWN | defined | {"NkiTensor"}:
        return "Any"
    return re.sub(r"\b(bool|float|int|str|tuple|list)\b", r"builtins.\1", text)
