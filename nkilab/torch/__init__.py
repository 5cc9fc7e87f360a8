"""The kernels as PyTorch operators: `torch.ops.nkilab.*`, differentiable where a kernel has a backward.

On the CPU an operator runs on the simulator (the values that the kernel gives on hardware), or as plain torch inside
`with backend("torch")`; on a Neuron device it calls the kernel through the vendor's package, which was not run here.
Each operator has a fake function, so `torch.compile` and `torch.export` take it as one opaque call.

Layouts are those of the kernels; `scaled_dot_product_attention` has torch's.
"""

from __future__ import annotations

from .attention import scaled_dot_product_attention as scaled_dot_product_attention
from .layers import attention_block as attention_block
from .layers import flash_attention_decode as flash_attention_decode
from .layers import fused_qkv as fused_qkv
from .layers import fused_qkv_cached as fused_qkv_cached
from .operators import flash_attention as flash_attention
from .operators import flash_attention_backward as flash_attention_backward
from .operators import layernorm as layernorm
from .operators import matmul as matmul
from .operators import rmsnorm as rmsnorm
from .operators import rope as rope
from .operators import softmax as softmax
from .operators import swiglu_mlp as swiglu_mlp
from .registry import BACKENDS as BACKENDS
from .registry import backend as backend
