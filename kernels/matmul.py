"""Matrix multiplication in four steps, each keeping more of its operands on chip.

All steps share one signature: `lhsT[K, M]` and `rhs[K, N]` in HBM, K a multiple of 128, M of 128, N of 512; the result
is `lhsT.T @ rhs` with shape `[M, N]` in the operands' dtype, accumulated in fp32. The contraction dimension K lies on
the partitions of both operands, as the tensor engine needs it.

| step | each element of lhsT is loaded | each element of rhs is loaded |
|---|---|---|
| `matmul_tiled` | N / 512 times | M / 128 times |
| `matmul_hoisted` | once | M / 128 times |
| `matmul_blocked` | once | M / (128 * tiles_in_block_m) times |
| `matmul_fully_blocked` | N / (512 * tiles_in_block_n) times | once |
"""

import nki
import nki.isa as nisa
import nki.language as nl

TILE_K = nl.tile_size.pmax
TILE_M = nl.tile_size.gemm_stationary_fmax
TILE_N = nl.tile_size.psum_bank_fmax


def check_shapes(lhsT, rhs):
    """Return (K, M, N); raise AssertionError where a dimension is not a whole number of tiles."""
    K, M = lhsT.shape
    K_rhs, N = rhs.shape
    assert K_rhs == K, f"lhsT has {K} rows but rhs has {K_rhs}: both must have the contraction dimension first"
    assert K % TILE_K == 0, f"K={K} must be a multiple of {TILE_K}"
    assert M % TILE_M == 0, f"M={M} must be a multiple of {TILE_M}"
    assert N % TILE_N == 0, f"N={N} must be a multiple of {TILE_N}"
    return K, M, N


def load(hbm, row, column, columns):
    """Copy rows [row, row + 128) and columns [column, column + columns) of an HBM matrix into a new SBUF tile."""
    tile = nl.ndarray((TILE_K, columns), dtype=hbm.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=hbm[row : row + TILE_K, column : column + columns])
    return tile


def store(result, row, column, psum):
    """Round one PSUM tile to the result's dtype and write it to HBM."""
    tile = nl.ndarray(psum.shape, dtype=result.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=tile, src=psum)
    nisa.dma_copy(dst=result[row : row + TILE_M, column : column + TILE_N], src=tile)


@nki.jit
def matmul_tiled(lhsT, rhs):
    """Load both tiles of every multiply: no reuse on chip at all."""
    K, M, N = check_shapes(lhsT, rhs)
    result = nl.ndarray((M, N), dtype=lhsT.dtype, buffer=nl.shared_hbm)
    for m in range(0, M, TILE_M):
        for n in range(0, N, TILE_N):
            psum = nl.ndarray((TILE_M, TILE_N), dtype=nl.float32, buffer=nl.psum)
            for k in range(0, K, TILE_K):
                lhsT_tile = load(lhsT, k, m, TILE_M)
                rhs_tile = load(rhs, k, n, TILE_N)
                nisa.nc_matmul(dst=psum, stationary=lhsT_tile, moving=rhs_tile)
            store(result, m, n, psum)
    return result


@nki.jit
def matmul_hoisted(lhsT, rhs):
    """Load a column of lhsT tiles once for all n, and a column of rhs tiles before the multiplies that use it."""
    K, M, N = check_shapes(lhsT, rhs)
    result = nl.ndarray((M, N), dtype=lhsT.dtype, buffer=nl.shared_hbm)
    for m in range(0, M, TILE_M):
        lhsT_tiles = [load(lhsT, k, m, TILE_M) for k in range(0, K, TILE_K)]
        for n in range(0, N, TILE_N):
            rhs_tiles = [load(rhs, k, n, TILE_N) for k in range(0, K, TILE_K)]
            psum = nl.ndarray((TILE_M, TILE_N), dtype=nl.float32, buffer=nl.psum)
            for lhsT_tile, rhs_tile in zip(lhsT_tiles, rhs_tiles):
                nisa.nc_matmul(dst=psum, stationary=lhsT_tile, moving=rhs_tile)
            store(result, m, n, psum)
    return result


@nki.jit
def matmul_blocked(lhsT, rhs, tiles_in_block_m=2, tiles_in_block_n=2):
    """Keep a block of several tiles in M and N on chip for the whole of K, and use each loaded tile for all of them."""
    K, M, N = check_shapes(lhsT, rhs)
    block_m, block_n = tiles_in_block_m * TILE_M, tiles_in_block_n * TILE_N
    result = nl.ndarray((M, N), dtype=lhsT.dtype, buffer=nl.shared_hbm)
    for m in range(0, M, block_m):
        columns_m = min(block_m, M - m)
        lhsT_tiles = [load(lhsT, k, m, columns_m) for k in range(0, K, TILE_K)]
        for n in range(0, N, block_n):
            columns_n = min(block_n, N - n)
            rhs_tiles = [load(rhs, k, n, columns_n) for k in range(0, K, TILE_K)]
            for i in range(0, columns_m, TILE_M):
                for j in range(0, columns_n, TILE_N):
                    psum = nl.ndarray((TILE_M, TILE_N), dtype=nl.float32, buffer=nl.psum)
                    for lhsT_tile, rhs_tile in zip(lhsT_tiles, rhs_tiles):
                        nisa.nc_matmul(
                            dst=psum, stationary=lhsT_tile[:, i : i + TILE_M], moving=rhs_tile[:, j : j + TILE_N]
                        )
                    store(result, m + i, n + j, psum)
    return result


@nki.jit
def matmul_fully_blocked(lhsT, rhs, tiles_in_block_m=16, tiles_in_block_n=2, tiles_in_block_k=8):
    """Block K too: a column of results stays in SBUF while blocks of lhsT and rhs pass by, so rhs is loaded once."""
    K, M, N = check_shapes(lhsT, rhs)
    block_m, block_n, block_k = tiles_in_block_m * TILE_M, tiles_in_block_n * TILE_N, tiles_in_block_k * TILE_K
    result = nl.ndarray((M, N), dtype=lhsT.dtype, buffer=nl.shared_hbm)
    for n in range(0, N, block_n):
        columns_n = min(block_n, N - n)
        sums = [nl.ndarray((TILE_M, columns_n), dtype=nl.float32, buffer=nl.sbuf) for _ in range(0, M, TILE_M)]
        for k in range(0, K, block_k):
            rows = range(k, min(k + block_k, K), TILE_K)
            rhs_tiles = [load(rhs, row, n, columns_n) for row in rows]
            for m in range(0, M, block_m):
                columns_m = min(block_m, M - m)
                lhsT_tiles = [load(lhsT, row, m, columns_m) for row in rows]
                for i in range(0, columns_m, TILE_M):
                    for j in range(0, columns_n, TILE_N):
                        psum = nl.ndarray((TILE_M, TILE_N), dtype=nl.float32, buffer=nl.psum)
                        for lhsT_tile, rhs_tile in zip(lhsT_tiles, rhs_tiles):
                            nisa.nc_matmul(
                                dst=psum, stationary=lhsT_tile[:, i : i + TILE_M], moving=rhs_tile[:, j : j + TILE_N]
                            )
                        add_to_sum(sums[(m + i) // TILE_M][:, j : j + TILE_N], psum, first=k == 0)
        for row, total in enumerate(sums):
            store_row(result, row * TILE_M, n, total)
    return result


def add_to_sum(total, psum, first):
    """Start the fp32 sum in SBUF with the first block of K, add every later one."""
    if first:
        nisa.tensor_copy(dst=total, src=psum)
    else:
        nisa.tensor_tensor(dst=total, data1=total, data2=psum, op=nl.add)


def store_row(result, row, column, total):
    """Write one row of finished tiles to HBM, rounded to the result's dtype where that is not fp32."""
    if result.dtype != total.dtype:
        rounded = nl.ndarray(total.shape, dtype=result.dtype, buffer=nl.sbuf)
        nisa.tensor_copy(dst=rounded, src=total)
        total = rounded
    nisa.dma_copy(dst=result[row : row + TILE_M, column : column + total.shape[1]], src=total)
