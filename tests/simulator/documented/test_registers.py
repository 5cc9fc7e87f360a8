"""Registers, traced scalars and the target's version."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import Sim, execute
from tests.simulator.documented.harness import out, run, same

NUMBERS = np.array([[-7, 2**31 - 1, 12345]], np.int32)


def stored(d, position, register):
    nisa.register_store(d[:, position : position + 1], register)


@pytest.mark.operation("nki.isa.register_alloc")
def test_a_register_starts_with_its_number():
    def body(d):
        stored(d, 0, nisa.register_alloc(41))
        stored(d, 1, nisa.register_alloc(-(2**31)))

    same(run(body, outs=out(1, 2, dtype=nl.int32)), np.int32([[41, -(2**31)]]))


@pytest.mark.operation("nki.isa.register_move")
def test_a_move_takes_a_number_or_another_register():
    def body(d):
        first, second = nisa.register_alloc(1), nisa.register_alloc()
        nisa.register_move(first, 99)
        nisa.register_move(second, first)
        nisa.register_move(first, 5)
        stored(d, 0, first)
        stored(d, 1, second)

    same(run(body, outs=out(1, 2, dtype=nl.int32)), np.int32([[5, 99]]))


@pytest.mark.operation("nki.isa.register_load")
@pytest.mark.operation("nki.isa.register_store")
def test_a_register_carries_an_element_from_memory_to_memory():
    def body(d, x):
        for i in range(3):
            register = nisa.register_alloc()
            nisa.register_load(register, x[:, i : i + 1])
            stored(d, 2 - i, register)

    same(run(body, NUMBERS, outs=out(1, 3, dtype=nl.int32)), NUMBERS[:, ::-1])


@pytest.mark.operation("nki.isa.scalar_load")
@pytest.mark.operation("nki.isa.scalar_store")
def test_a_scalar_computes_in_wrapping_32_bits():
    def body(d, x):
        first, second, third = (nisa.scalar_load(x[:, i : i + 1]) for i in range(3))
        nisa.scalar_store(d[:, 0:1], second + 1)
        nisa.scalar_store(d[:, 1:2], third * 1_000_000)
        nisa.scalar_store(d[:, 2:3], first - third)

    wrapped = (12345 * 1_000_000 + 2**31) % 2**32 - 2**31
    same(run(body, NUMBERS, outs=out(1, 3, dtype=nl.int32)), np.int32([[-(2**31), wrapped, -12352]]))


@pytest.mark.operation("nki.isa.get_nc_version")
@pytest.mark.operation("nki.isa.get_nc_sub_version")
def test_the_target_says_its_version():
    for target, version in (
        ("trn1", nisa.nc_version.gen2),
        ("trn2", nisa.nc_version.gen3),
        ("trn3", nisa.nc_version.gen4),
    ):
        seen = []

        def kernel(seen=seen):
            seen.append((nisa.get_nc_version(), nisa.get_nc_sub_version()))

        execute(kernel, (), {}, Sim(target=target))
        assert seen == [(version, 0)]
