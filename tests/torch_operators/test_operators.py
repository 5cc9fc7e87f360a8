"""The kernels as torch operators: registered as torch wants them, equal to eager torch, forward, backward and compiled."""

from __future__ import annotations

from typing import Any

import pytest

from nkilab.errors import UsageError

torch = pytest.importorskip("torch")
ours = pytest.importorskip("nkilab.torch")
functional = torch.nn.functional
pytestmark = pytest.mark.torch


def draw(*shape: int, dtype: Any = torch.float32, seed: int = 0, grad: bool = False) -> Any:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_(grad)


def angles(tokens: int, d: int) -> tuple[Any, Any]:
    return draw(tokens, d // 2), draw(tokens, d // 2, seed=1)


def gains(d: int) -> tuple[Any, Any]:
    return draw(1, d), draw(1, d, seed=1)


ARGUMENTS = {
    "matmul": lambda grad: (draw(20, 40, grad=grad), draw(40, 24, grad=grad), draw(1, 24, grad=grad)),
    "flash_attention": lambda grad: (
        draw(4, 16, 33, grad=grad),
        draw(2, 16, 33, seed=1, grad=grad),
        draw(2, 33, 16, grad=grad),
        0.25,
        True,
    ),
    "rmsnorm": lambda grad: (draw(5, 32), draw(1, 32)),
    "layernorm": lambda grad: (draw(5, 32), draw(1, 32), draw(1, 32, seed=1)),
    "softmax": lambda grad: (draw(5, 32), 0.5),
    "rope": lambda grad: (draw(6, 2, 16), draw(6, 8), draw(6, 8, seed=1)),
    "fused_qkv": lambda grad: (
        draw(6, 32),
        draw(32, 64),
        draw(1, 32),
        None,
        draw(1, 64),
        *angles(6, 16),
        *gains(16),
        2,
    ),
    "fused_qkv_cached": lambda grad: (
        draw(6, 32),
        draw(32, 64),
        draw(1, 16, 9),
        draw(1, 9, 16),
        2,
        None,
        None,
        None,
        *angles(6, 16),
        None,
        None,
        2,
        1,
        None,
    ),
    "flash_attention_decode": lambda grad: (
        draw(2, 4, 16, 2),
        draw(2, 2, 16, 40),
        draw(2, 2, 40, 16),
        torch.tensor([40, 7], dtype=torch.int32),
    ),
    "attention_block": lambda grad: (
        draw(6, 32),
        draw(32, 64),
        draw(32, 20),
        draw(1, 32),
        None,
        *angles(6, 16),
        None,
        None,
        2,
    ),
    "swiglu_mlp": lambda grad: (draw(6, 32), draw(32, 48), draw(32, 48, seed=1), draw(48, 32)),
}
DIFFERENTIABLE = {"matmul", "flash_attention"}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_registration_is_what_torch_expects(name: str) -> None:
    checks = ["test_schema", "test_faketensor", "test_autograd_registration"]
    if name in DIFFERENTIABLE:
        checks.append("test_aot_dispatch_static")
    torch.library.opcheck(getattr(ours, name), ARGUMENTS[name](name in DIFFERENTIABLE), test_utils=checks)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_simulator_equals_plain_torch(name: str) -> None:
    arguments, twins = ARGUMENTS[name](False), ARGUMENTS[name](False)
    simulated = getattr(ours, name)(*arguments)
    with ours.backend("torch"):
        eager = getattr(ours, name)(*twins)
    torch.testing.assert_close(simulated, eager, rtol=1e-4, atol=1e-5)
    for own, twin in zip(arguments, twins, strict=True):
        torch.testing.assert_close(own, twin, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_caches_of_a_projection_are_written_at_their_position_only(dtype: Any) -> None:
    x, weight, k_cache, v_cache, position, *rest = ARGUMENTS["fused_qkv_cached"](False)
    x, weight, k_cache, v_cache = (tensor.to(dtype) for tensor in (x, weight, k_cache, v_cache))
    before = k_cache.clone(), v_cache.clone()
    ours.fused_qkv_cached(x, weight, k_cache, v_cache, position, *rest)
    changed = [
        (now != then).any(dim=axis).squeeze(0)
        for now, then, axis in zip((k_cache, v_cache), before, (1, 2), strict=True)
    ]
    expected = torch.tensor([position <= place < position + 6 for place in range(9)])
    assert all(torch.equal(places, expected) for places in changed)


def test_the_backward_kernel_equals_its_formula_and_torch_s_autograd() -> None:
    q, k, v, scale, causal = ARGUMENTS["flash_attention"](True)
    output, _ = ours.flash_attention(q, k, v, scale, causal)
    weight = draw(*output.shape, seed=3)
    gradients = torch.autograd.grad((output * weight).sum(), (q, k, v))
    wide = (x.detach().repeat_interleave(2, 0).requires_grad_() for x in (k, v))
    keys, values = wide
    expected = functional.scaled_dot_product_attention(
        q.transpose(1, 2), keys.transpose(1, 2), values, is_causal=True, scale=scale
    )
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    dq, dk, dv = torch.autograd.grad((expected * weight).sum(), (q, keys, values))
    summed = (dq, dk.unflatten(0, (2, 2)).sum(1), dv.unflatten(0, (2, 2)).sum(1))
    torch.testing.assert_close(gradients, summed, rtol=1e-3, atol=1e-4)
    with ours.backend("torch"):
        output, _ = ours.flash_attention(q, k, v, scale, causal)
        formula = torch.autograd.grad((output * weight).sum(), (q, k, v))
    torch.testing.assert_close(formula, summed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)], ids=["MHA", "GQA", "MQA"])
@pytest.mark.parametrize("causal", [False, True])
def test_sdpa_has_torch_s_signature_and_values(heads: tuple[int, int], causal: bool) -> None:
    q, k, v = (draw(2, n, 40, 32, seed=i) for i, n in enumerate((heads[0], heads[1], heads[1])))
    given = {"is_causal": causal, "enable_gqa": heads[0] != heads[1]}
    torch.testing.assert_close(
        ours.scaled_dot_product_attention(q, k, v, **given),
        functional.scaled_dot_product_attention(q, k, v, **given),
        rtol=1e-4,
        atol=1e-5,
    )


class Block(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """A decoder block with our attention and products, or torch's."""

    def __init__(self, width: int, heads: int, kernels: bool) -> None:
        super().__init__()
        self.heads, self.kernels = heads, kernels
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.up, self.down = torch.nn.Linear(width, 2 * width), torch.nn.Linear(2 * width, width)
        self.norm1, self.norm2 = torch.nn.RMSNorm(width), torch.nn.RMSNorm(width)

    def linear(self, layer: Any, x: Any) -> Any:
        if not self.kernels:
            return layer(x)
        product = ours.matmul(x.reshape(-1, x.shape[-1]), layer.weight.T.contiguous(), layer.bias[None])
        return product.reshape(*x.shape[:-1], -1)

    def forward(self, x: Any) -> Any:
        attend = ours.scaled_dot_product_attention if self.kernels else functional.scaled_dot_product_attention
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for part in self.linear(self.qkv, self.norm1(x)).chunk(3, -1)
        )
        x = x + self.linear(self.out, attend(q, k, v, is_causal=True).transpose(-2, -3).flatten(-2))
        return x + self.linear(self.down, functional.silu(self.linear(self.up, self.norm2(x))))


def transformers() -> tuple[Any, Any]:
    """Two layers with our kernels, and the same layers and weights in torch."""
    torch.manual_seed(0)
    eager = torch.nn.Sequential(*(Block(32, 2, kernels=False) for _ in range(2)))
    kernels = torch.nn.Sequential(*(Block(32, 2, kernels=True) for _ in range(2)))
    kernels.load_state_dict(eager.state_dict())
    return kernels, eager


def test_a_two_layer_transformer_forward_and_backward() -> None:
    kernels, eager = transformers()
    x = draw(2, 24, 32)
    outputs = [model(x) for model in (kernels, eager)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    for output in outputs:
        output.square().mean().backward()
    for (name, ours_), theirs in zip(kernels.named_parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(
            ours_.grad, theirs.grad, rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_torch_compile_keeps_the_operators_whole() -> None:
    kernels, eager = transformers()
    compiled = torch.compile(kernels, backend="aot_eager", fullgraph=True)
    x = draw(1, 24, 32)
    torch.testing.assert_close(compiled(x), eager(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attn_mask": torch.ones(8, 8)}, "attn_mask and dropout_p"),
        ({"dropout_p": 0.1}, "attn_mask and dropout_p"),
        ({"key": draw(2, 8, 4)}, "shapes do not fit"),
        ({"key": draw(1, 8, 16), "value": draw(1, 8, 16)}, "heads differ"),
        ({"key": draw(2, 9, 16), "value": draw(2, 9, 16), "is_causal": True}, "lengths that differ"),
    ],
)
def test_what_the_kernel_does_not_have_is_refused(change: dict[str, Any], says: str) -> None:
    given = {name: draw(2, 8, 16) for name in ("query", "key", "value")} | change
    with pytest.raises(UsageError, match=says):
        ours.scaled_dot_product_attention(**given)


def test_gradients_that_no_kernel_gives_are_refused() -> None:
    with ours.backend("torch"):
        assert not ours.flash_attention(*ARGUMENTS["flash_attention"](True))[1].requires_grad
        with pytest.raises(UsageError, match="no gradient through its activation"):
            ours.matmul(draw(4, 8, grad=True), draw(8, 4), None, "relu").sum().backward()


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UsageError, match="no torch backend 'cuda'"), ours.backend("cuda"):
        pass
