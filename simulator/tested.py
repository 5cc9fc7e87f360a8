"""The tests that compare each operation of NKI with its page: read off the tests' marks (`make tested`), for `nkilab ops`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TESTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "nki.collectives.all_gather": ("tests/simulator/documented/test_between.py::test_all_gather",),
        "nki.collectives.all_gather_v": ("tests/simulator/documented/test_between.py::test_all_gather_v",),
        "nki.collectives.all_gather_v_prepare": (
            "tests/simulator/documented/test_between.py::test_all_gather_v_in_two_parts",
        ),
        "nki.collectives.all_gather_v_trigger": (
            "tests/simulator/documented/test_between.py::test_all_gather_v_in_two_parts",
        ),
        "nki.collectives.all_reduce": ("tests/simulator/documented/test_between.py::test_all_reduce",),
        "nki.collectives.all_to_all": ("tests/simulator/documented/test_between.py::test_all_to_all",),
        "nki.collectives.all_to_all_v": ("tests/simulator/documented/test_between.py::test_all_to_all_v",),
        "nki.collectives.all_to_all_v_prepare": (
            "tests/simulator/documented/test_between.py::test_all_to_all_v_in_two_parts",
        ),
        "nki.collectives.all_to_all_v_trigger": (
            "tests/simulator/documented/test_between.py::test_all_to_all_v_in_two_parts",
        ),
        "nki.collectives.collective_permute": ("tests/simulator/documented/test_between.py::test_collective_permute",),
        "nki.collectives.collective_permute_implicit": (
            "tests/simulator/documented/test_between.py::test_collective_permute_implicit",
        ),
        "nki.collectives.collective_permute_implicit_current_processing_rank_id": (
            "tests/simulator/documented/test_between.py::test_the_rank_and_whose_data_a_step_of_the_ring_works_on",
        ),
        "nki.collectives.collective_permute_implicit_reduce": (
            "tests/simulator/documented/test_between.py::test_collective_permute_implicit_reduce",
        ),
        "nki.collectives.rank_id": (
            "tests/simulator/documented/test_between.py::test_the_rank_and_whose_data_a_step_of_the_ring_works_on",
        ),
        "nki.collectives.reduce_scatter": ("tests/simulator/documented/test_between.py::test_reduce_scatter",),
        "nki.isa.activate2": (
            "tests/simulator/documented/test_elementwise.py::test_activate2",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activate2-0]",
        ),
        "nki.isa.activation": (
            "tests/simulator/documented/test_elementwise.py::test_activation_scales_adds_a_bias_and_sums_into_its_registers",
            "tests/simulator/documented/test_elementwise.py::test_every_activation_function",
            "tests/simulator/documented/test_elementwise.py::test_sine_is_extrapolated_beyond_pi",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-0]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-1]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-2]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-3]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-4]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-5]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-6]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-7]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation-8]",
        ),
        "nki.isa.activation_reduce": (
            "tests/simulator/documented/test_elementwise.py::test_activation_reduce",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[activation_reduce-0]",
        ),
        "nki.isa.affine_select": (
            "tests/simulator/documented/test_elementwise.py::test_affine_select",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[affine_select-0]",
        ),
        "nki.isa.bn_aggr": (
            "tests/simulator/documented/test_reductions.py::test_bn_aggr",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[bn_aggr-0]",
        ),
        "nki.isa.bn_stats": (
            "tests/simulator/documented/test_reductions.py::test_bn_stats",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[bn_stats-0]",
        ),
        "nki.isa.core_barrier": ("tests/simulator/documented/test_between.py::test_core_barrier",),
        "nki.isa.dma_compute": (
            "tests/simulator/documented/test_movement.py::test_dma_compute",
            "tests/simulator/documented/test_movement.py::test_dma_compute_adds_to_scattered_and_from_gathered_rows",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[dma_compute-0]",
        ),
        "nki.isa.dma_copy": (
            "tests/simulator/documented/test_movement.py::test_dma_copy",
            "tests/simulator/documented/test_movement.py::test_dma_copy_gathers_and_scatters_rows_and_skips_those_outside",
        ),
        "nki.isa.dma_transpose": (
            "tests/simulator/documented/test_movement.py::test_dma_transpose",
            "tests/simulator/documented/test_movement.py::test_dma_transpose_of_gathered_rows",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[dma_transpose-0]",
        ),
        "nki.isa.dropout": (
            "tests/simulator/documented/test_random.py::test_dropout_zeroes_a_share_and_leaves_the_rest_unscaled",
        ),
        "nki.isa.exponential": (
            "tests/simulator/documented/test_elementwise.py::test_exponential",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[exponential-0]",
        ),
        "nki.isa.get_nc_sub_version": (
            "tests/simulator/documented/test_registers.py::test_the_target_says_its_version",
        ),
        "nki.isa.get_nc_version": ("tests/simulator/documented/test_registers.py::test_the_target_says_its_version",),
        "nki.isa.iota": (
            "tests/simulator/documented/test_elementwise.py::test_iota",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[iota-0]",
        ),
        "nki.isa.local_gather": ("tests/simulator/documented/test_movement.py::test_local_gather",),
        "nki.isa.max8": (
            "tests/simulator/documented/test_reductions.py::test_max8",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[max8-0]",
        ),
        "nki.isa.memset": (
            "tests/simulator/documented/test_elementwise.py::test_memset",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[memset-0]",
        ),
        "nki.isa.nc_find_index8": (
            "tests/simulator/documented/test_reductions.py::test_nc_find_index8",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[nc_find_index8-0]",
        ),
        "nki.isa.nc_match_replace8": ("tests/simulator/documented/test_reductions.py::test_nc_match_replace8",),
        "nki.isa.nc_matmul": (
            "tests/simulator/documented/test_matmul.py::test_nc_matmul",
            "tests/simulator/documented/test_matmul.py::test_nc_matmul_in_double_row_contracts_over_partitions_and_two",
            "tests/simulator/documented/test_matmul.py::test_nc_matmul_in_transpose_mode_moves_bits",
            "tests/simulator/documented/test_matmul.py::test_nc_matmul_overwrites_first_and_adds_then",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[nc_matmul-0]",
        ),
        "nki.isa.nc_matmul_mx": ("tests/simulator/documented/test_matmul.py::test_nc_matmul_mx",),
        "nki.isa.nc_n_gather": (
            "tests/simulator/documented/test_movement.py::test_nc_n_gather",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[nc_n_gather-0]",
        ),
        "nki.isa.nc_stream_shuffle": ("tests/simulator/documented/test_movement.py::test_nc_stream_shuffle",),
        "nki.isa.nc_transpose": (
            "tests/simulator/documented/test_movement.py::test_nc_transpose",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[nc_transpose-0]",
        ),
        "nki.isa.nonzero_with_count": ("tests/simulator/documented/test_reductions.py::test_nonzero_with_count",),
        "nki.isa.quantize_mx": ("tests/simulator/documented/test_matmul.py::test_quantize_mx",),
        "nki.isa.rand2": ("tests/simulator/documented/test_random.py::test_rand2_is_uniform_between_its_bounds",),
        "nki.isa.rand_get_state": (
            "tests/simulator/documented/test_random.py::test_states_are_set_advanced_and_read_back",
        ),
        "nki.isa.rand_set_state": (
            "tests/simulator/documented/test_random.py::test_states_are_set_advanced_and_read_back",
        ),
        "nki.isa.range_select": ("tests/simulator/documented/test_elementwise.py::test_range_select",),
        "nki.isa.reciprocal": (
            "tests/simulator/documented/test_elementwise.py::test_reciprocal",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[reciprocal-0]",
        ),
        "nki.isa.register_alloc": (
            "tests/simulator/documented/test_registers.py::test_a_register_starts_with_its_number",
        ),
        "nki.isa.register_load": (
            "tests/simulator/documented/test_registers.py::test_a_register_carries_an_element_from_memory_to_memory",
        ),
        "nki.isa.register_move": (
            "tests/simulator/documented/test_registers.py::test_a_move_takes_a_number_or_another_register",
        ),
        "nki.isa.register_store": (
            "tests/simulator/documented/test_registers.py::test_a_register_carries_an_element_from_memory_to_memory",
        ),
        "nki.isa.rng": ("tests/simulator/documented/test_random.py::test_rng_takes_the_low_bits_of_xorwow_on_gpsimd",),
        "nki.isa.scalar_load": (
            "tests/simulator/documented/test_registers.py::test_a_scalar_computes_in_wrapping_32_bits",
        ),
        "nki.isa.scalar_store": (
            "tests/simulator/documented/test_registers.py::test_a_scalar_computes_in_wrapping_32_bits",
        ),
        "nki.isa.scalar_tensor_tensor": (
            "tests/simulator/documented/test_elementwise.py::test_scalar_tensor_tensor",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[scalar_tensor_tensor-0]",
        ),
        "nki.isa.select_reduce": (
            "tests/simulator/documented/test_elementwise.py::test_select_reduce",
            "tests/simulator/documented/test_reductions.py::test_registers_of_select_reduce_continue",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[select_reduce-0]",
        ),
        "nki.isa.sendrecv": ("tests/simulator/documented/test_between.py::test_sendrecv",),
        "nki.isa.sequence_bounds": ("tests/simulator/documented/test_reductions.py::test_sequence_bounds",),
        "nki.isa.set_rng_seed": (
            "tests/simulator/documented/test_random.py::test_a_seed_starts_the_same_sequence_again",
        ),
        "nki.isa.tensor_copy": (
            "tests/simulator/documented/test_elementwise.py::test_tensor_copy",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_copy-0]",
        ),
        "nki.isa.tensor_copy_predicated": (
            "tests/simulator/documented/test_elementwise.py::test_tensor_copy_predicated",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_copy_predicated-0]",
        ),
        "nki.isa.tensor_partition_reduce": (
            "tests/simulator/documented/test_reductions.py::test_tensor_partition_reduce",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_partition_reduce-0]",
        ),
        "nki.isa.tensor_reduce": (
            "tests/simulator/documented/test_reductions.py::test_tensor_reduce",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_reduce-0]",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_reduce-1]",
        ),
        "nki.isa.tensor_scalar": (
            "tests/simulator/documented/test_elementwise.py::test_tensor_scalar",
            "tests/simulator/documented/test_elementwise.py::test_tensor_scalar_of_bits_and_of_addresses",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_scalar-0]",
        ),
        "nki.isa.tensor_scalar_cumulative": (
            "tests/simulator/documented/test_reductions.py::test_tensor_scalar_cumulative",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_scalar_cumulative-0]",
        ),
        "nki.isa.tensor_scalar_reduce": ("tests/simulator/documented/test_reductions.py::test_tensor_scalar_reduce",),
        "nki.isa.tensor_tensor": (
            "tests/simulator/documented/test_elementwise.py::test_absolute_maximum_and_minimum_keep_the_sign_and_take_the_second_of_equals",
            "tests/simulator/documented/test_elementwise.py::test_tensor_tensor",
            "tests/simulator/documented/test_elementwise.py::test_tensor_tensor_of_integers",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_tensor-0]",
        ),
        "nki.isa.tensor_tensor_scan": (
            "tests/simulator/documented/test_reductions.py::test_tensor_tensor_scan",
            "tests/simulator/documented/test_torch.py::test_torch_gives_the_same[tensor_tensor_scan-0]",
        ),
        "nki.isa.topk": (
            "tests/simulator/documented/test_reductions.py::test_topk",
            "tests/simulator/documented/test_reductions.py::test_topk_of_nki_0_6_gives_every_partition_the_results_of_its_group_in_ascending_order",
        ),
    }
)
"""Tests by the operation's full name."""
