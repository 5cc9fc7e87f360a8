"""Timing kernels so that the numbers cannot mislead: gate, statistics, sweeps, tuning, comparison, preflight.

Backends stand behind one protocol (`backend.Backend`): the simulator's clock, a Trainium device, the vendor's simulator,
torch on the CPU. A kernel enters as a `nkilab.Case`; a result leaves as plain data that is stored and compared.
`python -m nkilab.bench.speed` measures nkilab itself.
"""
