"""Small kernels, each with one fault that a rule of `advice` names, and twins without it. Plain NKI."""

import nki
import nki.isa as nisa
import nki.language as nl

P = 128


def load(hbm, row, column, columns, rows=P):
    """A block of an HBM matrix in SBUF."""
    tile = nl.ndarray((rows, columns), dtype=hbm.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=hbm[row : row + rows, column : column + columns])
    return tile


def store(result, row, column, tile):
    """A tile to HBM."""
    nisa.dma_copy(dst=result[row : row + tile.shape[0], column : column + tile.shape[1]], src=tile)


@nki.jit
def one_after_another(x):
    """Every tile goes through one buffer at one address, so that loading, computing and storing take turns."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray((P, x.shape[1]), dtype=x.dtype, buffer=nl.sbuf)
    for row in range(0, x.shape[0], P):
        nisa.dma_copy(dst=tile, src=x[row : row + P, :])
        for _ in range(3):
            nisa.activation(dst=tile, op=nl.exp, data=tile)
        nisa.dma_copy(dst=result[row : row + P, :], src=tile)
    return result


@nki.jit
def small_rows(x, columns=32):
    """Loads a few columns at a time: with 32 of bf16, 64 bytes for each partition and descriptor."""
    result = nl.ndarray((P, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    total = nl.ndarray((P, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=total, value=0.0)
    for column in range(0, x.shape[1], columns):
        tile = load(x, 0, column, columns)
        nisa.tensor_tensor(dst=total, data1=total, data2=tile[:, 0:1], op=nl.add)
    store(result, 0, 0, total)
    return result


@nki.jit
def loaded_again(x, times=24):
    """Loads the same tile for every use, and computes little on it."""
    return summed(x, [0] * times)


@nki.jit
def loaded_once(x):
    """The same with another tile each time."""
    return summed(x, list(range(0, x.shape[0], P)))


def summed(x, rows):
    """Sum of the first columns of blocks of rows."""
    result = nl.ndarray((P, 128), dtype=nl.float32, buffer=nl.shared_hbm)
    total = nl.ndarray((P, 128), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=total, value=0.0)
    for row in rows:
        tile = load(x, row, 0, x.shape[1])
        nisa.tensor_tensor(dst=total, data1=total, data2=tile[:, 0:128], op=nl.add)
    store(result, 0, 0, total)
    return result


@nki.jit
def too_much_at_once(x):
    """Holds every tile until the end: more than SBUF has."""
    result = nl.ndarray((P, x.shape[1]), dtype=nl.float32, buffer=nl.shared_hbm)
    tiles = [load(x, row, 0, x.shape[1]) for row in range(0, x.shape[0], P)]
    for tile in tiles:
        nisa.activation(dst=tile, op=nl.exp, data=tile)
    total = tiles[0]
    for tile in tiles[1:]:
        nisa.tensor_tensor(dst=total, data1=total, data2=tile, op=nl.add)
    store(result, 0, 0, total)
    return result


@nki.jit
def transposed_first(x, w, times=24):
    """Transposes on TensorE before every multiply."""
    result = nl.ndarray((P, 128), dtype=nl.float32, buffer=nl.shared_hbm)
    data, weights = load(x, 0, 0, P), load(w, 0, 0, 128)
    psum = nl.ndarray((P, 128), dtype=nl.float32, buffer=nl.psum)
    for _ in range(times):
        flipped_psum = nl.ndarray((P, P), dtype=x.dtype, buffer=nl.psum)
        nisa.nc_transpose(dst=flipped_psum, data=data, engine=nisa.engine.tensor)
        flipped = nl.ndarray((P, P), dtype=x.dtype, buffer=nl.sbuf)
        nisa.tensor_copy(dst=flipped, src=flipped_psum)
        nisa.nc_matmul(dst=psum, stationary=flipped, moving=weights)
    out = nl.ndarray((P, 128), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(dst=out, src=psum)
    store(result, 0, 0, out)
    return result


@nki.jit
def narrow_multiplies(x, w, times=64, columns=32):
    """Multiplies a few columns at a time."""
    result = nl.ndarray((P, w.shape[1]), dtype=nl.float32, buffer=nl.shared_hbm)
    data, weights = load(x, 0, 0, P), load(w, 0, 0, w.shape[1])
    psum = nl.ndarray((P, w.shape[1]), dtype=nl.float32, buffer=nl.psum)
    for _ in range(times):
        for column in range(0, w.shape[1], columns):
            part = slice(column, column + columns)
            nisa.nc_matmul(dst=psum[:, part], stationary=data, moving=weights[:, part])
    out = nl.ndarray(psum.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(dst=out, src=psum)
    store(result, 0, 0, out)
    return result


@nki.jit
def all_on_one_engine(x, times=40):
    """A chain of additions on VectorE while ScalarE and GpSimdE stand still."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = load(x, 0, 0, x.shape[1])
    for _ in range(times):
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1.0, engine=nisa.engine.vector)
    store(result, 0, 0, tile)
    return result


@nki.jit
def functions_in_turn(x, times=20):
    """Two activation functions by turns, whose tables do not stay loaded together."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = load(x, 0, 0, x.shape[1])
    for _ in range(times):
        nisa.activation(dst=tile, op=nl.exp, data=tile)
        nisa.activation(dst=tile, op=nl.tanh, data=tile)
    store(result, 0, 0, tile)
    return result


@nki.jit
def few_partitions(x, times=40):
    """Work on as few of the 128 partitions as `x` has rows."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = load(x, 0, 0, x.shape[1], rows=x.shape[0])
    for _ in range(times):
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1.0, engine=nisa.engine.vector)
    store(result, 0, 0, tile)
    return result
