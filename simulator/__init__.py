"""NKI on a CPU: values, checks and a trace of every instruction.

    from nkilab.simulator import Sim, execute
    run = execute(kernel, (a, b), {}, Sim(target="trn2"))
    run.outputs[0], run.findings, run.trace.columns()
"""

from .errors import FindingsError, KernelError, NkiValidationError, UnsupportedError
from .execute import Execution, execute
from .findings import CODES, Finding, FindingCode
from .sim import Sim, default_sim
from .trace import Trace

__all__ = [
    "CODES",
    "Execution",
    "Finding",
    "FindingCode",
    "FindingsError",
    "KernelError",
    "NkiValidationError",
    "Sim",
    "Trace",
    "UnsupportedError",
    "default_sim",
    "execute",
]
