"""A decoder block as one writes it first: every step is a kernel of its own, and every result goes back to HBM.

    h = x + attention(rmsnorm(x)) @ w_out          y = h + (silu(n @ w_gate) * (n @ w_up)) @ w_down,  n = rmsnorm(h)

Attention materialises the scores, `[heads, tokens, tokens]`, and looks at every key for every query. Products are the tiled
matmul, which loads both operands of every multiply. Compare `fused.py`.
"""

# ruff: noqa: ANN001, ANN201  (kernels are plain NKI source)

import nki
import nki.isa as nisa
import nki.language as nl

from nkilab.kernels.matmul import matmul_tiled
from nkilab.kernels.rmsnorm import rmsnorm

ROWS = nl.tile_size.pmax
MASKED = -1e30


@nki.jit
def decoder_block(x, w_qkv, w_out, w_gate, w_up, w_down, gain_attention, gain_mlp, heads=1):
    """Return the block of `x[tokens, hidden]`; shapes as in `fused.decoder_block`, all sizes multiples of 512."""
    attended = attention_part(x, w_qkv, w_out, gain_attention, heads)
    h = combine(x, attended, nl.add)
    return combine(h, mlp_part(h, w_gate, w_up, w_down, gain_mlp), nl.add)


def attention_part(x, w_qkv, w_out, gain, heads):
    """Norm, projection, causal attention, output projection: `[tokens, hidden]`."""
    tokens, width = x.shape[0], w_out.shape[0]
    qkv = matmul_tiled(transposed(rmsnorm(x, gain)), w_qkv)
    turned = transposed(qkv)
    mixed = nl.ndarray((tokens, width), dtype=x.dtype, buffer=nl.shared_hbm)
    for head in range(heads):
        attention_head(mixed, turned, qkv, head, heads)
    return matmul_tiled(transposed(mixed), w_out)


def attention_head(mixed, turned, qkv, head, heads):
    """Columns of one head of `softmax(q @ k.T) @ v`, 128 queries at a time."""
    tokens, d = qkv.shape[0], qkv.shape[1] // (3 * heads)
    scores = nl.ndarray((tokens, tokens), dtype=nl.float32, buffer=nl.shared_hbm)
    weights = nl.ndarray((tokens, tokens), dtype=qkv.dtype, buffer=nl.shared_hbm)
    for row in range(0, tokens, ROWS):
        q = load(turned, head * d, d, row, ROWS)
        for key in range(0, tokens, 512):
            k = load(turned, (heads + head) * d, d, key, 512)
            bank = nl.ndarray((ROWS, 512), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_matmul(dst=bank, stationary=q, moving=k)
            store(scores, row, key, bank)
    for row in range(0, tokens, ROWS):
        softmax_rows(weights, scores, row, d**-0.5)
    by_key = transposed(weights)
    for row in range(0, tokens, ROWS):
        bank = nl.ndarray((ROWS, d), dtype=nl.float32, buffer=nl.psum)
        for key in range(0, tokens, ROWS):
            w = load(by_key, key, ROWS, row, ROWS)
            v = load(qkv, key, ROWS, (2 * heads + head) * d, d)
            nisa.nc_matmul(dst=bank, stationary=w, moving=v)
        store(mixed, row, head * d, bank)


def softmax_rows(weights, scores, row, scale):
    """128 rows of causal softmax, from HBM to HBM."""
    keys = scores.shape[1]
    tile = load(scores, row, ROWS, 0, keys)
    seen = nl.ndarray(tile.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.affine_select(
        dst=seen,
        pattern=[[-1, keys]],
        channel_multiplier=1,
        offset=row,
        on_true_tile=tile,
        on_false_value=MASKED,
        cmp_op=nl.greater_equal,
    )
    lowest, bias, total, inverse = (nl.ndarray((ROWS, 1), dtype=nl.float32, buffer=nl.sbuf) for _ in range(4))
    nisa.tensor_reduce(dst=lowest, op=nl.maximum, data=seen, axis=1, negate=True)
    nisa.tensor_scalar(dst=bias, data=lowest, op0=nl.multiply, operand0=scale)
    power = nl.ndarray(tile.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.activation(dst=power, op=nl.exp, data=seen, scale=scale, bias=bias)
    nisa.tensor_reduce(dst=total, op=nl.add, data=power, axis=1)
    nisa.reciprocal(dst=inverse, data=total)
    weight = nl.ndarray(tile.shape, dtype=weights.dtype, buffer=nl.sbuf)
    nisa.tensor_scalar(dst=weight, data=power, op0=nl.multiply, operand0=inverse)
    nisa.dma_copy(dst=weights[row : row + ROWS, :], src=weight)


def mlp_part(x, w_gate, w_up, w_down, gain):
    """Norm and gated MLP: `[tokens, hidden]`."""
    normal = transposed(rmsnorm(x, gain))
    active = apply(matmul_tiled(normal, w_gate), nl.silu)
    gated = combine(active, matmul_tiled(normal, w_up), nl.multiply)
    return matmul_tiled(transposed(gated), w_down)


def transposed(matrix):
    """The matrix turned, tile by tile of 128 x 128 through the tensor engine."""
    rows, columns = matrix.shape
    result = nl.ndarray((columns, rows), dtype=matrix.dtype, buffer=nl.shared_hbm)
    for row in range(0, rows, ROWS):
        for column in range(0, columns, ROWS):
            bank = nl.ndarray((ROWS, ROWS), dtype=matrix.dtype, buffer=nl.psum)
            nisa.nc_transpose(dst=bank, data=load(matrix, row, ROWS, column, ROWS), engine=nisa.engine.tensor)
            store(result, column, row, bank)
    return result


def combine(left, right, op):
    """`op(left, right)`, element by element, in left's dtype."""
    result = nl.ndarray(left.shape, dtype=left.dtype, buffer=nl.shared_hbm)
    for row in range(0, left.shape[0], ROWS):
        a, b = (load(matrix, row, ROWS, 0, left.shape[1]) for matrix in (left, right))
        tile = nl.ndarray(a.shape, dtype=left.dtype, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=tile, data1=a, data2=b, op=op)
        nisa.dma_copy(dst=result[row : row + ROWS, :], src=tile)
    return result


def apply(matrix, op):
    """`op(matrix)`, element by element."""
    result = nl.ndarray(matrix.shape, dtype=matrix.dtype, buffer=nl.shared_hbm)
    for row in range(0, matrix.shape[0], ROWS):
        tile = nl.ndarray((ROWS, matrix.shape[1]), dtype=matrix.dtype, buffer=nl.sbuf)
        nisa.activation(dst=tile, op=op, data=load(matrix, row, ROWS, 0, matrix.shape[1]))
        nisa.dma_copy(dst=result[row : row + ROWS, :], src=tile)
    return result


def load(matrix, row, rows, column, columns):
    """A part of an HBM matrix as a new SBUF tile."""
    tile = nl.ndarray((rows, columns), dtype=matrix.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=matrix[row : row + rows, column : column + columns])
    return tile


def store(matrix, row, column, bank):
    """Write a PSUM tile to an HBM matrix, rounded to its dtype."""
    rows, columns = bank.shape
    tile = nl.ndarray(bank.shape, dtype=matrix.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=tile, src=bank)
    nisa.dma_copy(dst=matrix[row : row + rows, column : column + columns], src=tile)
