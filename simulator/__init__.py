"""NKI on a CPU: values, checks and a trace of every instruction.

`execute(kernel, (a, b), {}, Sim(target="trn2"))` gives an Execution: `.outputs`, `.findings`, `.trace.columns()`.
"""

from .arguments import PerRank, per_rank
from .deprecated import NkilabDeprecationWarning
from .errors import FindingsError, KernelError, NkiValidationError, UnsupportedError
from .execute import Execution, execute
from .findings import CODES, Finding, FindingCode
from .sim import Sim, default_sim
from .team import DeadlockError
from .trace import Trace

__all__ = [
    "CODES",
    "DeadlockError",
    "Execution",
    "Finding",
    "FindingCode",
    "FindingsError",
    "KernelError",
    "NkiValidationError",
    "NkilabDeprecationWarning",
    "PerRank",
    "Sim",
    "Trace",
    "UnsupportedError",
    "default_sim",
    "execute",
    "per_rank",
]
