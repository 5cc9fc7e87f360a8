"""Every operation has a test against its page, `nkilab ops` names it, and it notices one wrong element of any result."""

from __future__ import annotations

import pytest

from nkilab.errors import NkilabError
from nkilab.simulator.coverage import operations
from nkilab.simulator.tested import TESTS
from tests.simulator.documented import collected, mutation

MODULES = ("nki.isa.", "nki.collectives.")
NAMES = sorted(each.name for each in operations() if each.name.startswith(MODULES))


def test_every_instruction_and_collective_is_tested_and_no_other_name_is():
    assert sorted(collected.table()) == NAMES


def test_the_table_of_ops_is_that_of_the_marks():
    assert dict(TESTS) == collected.table(), "run `make tested`"


@pytest.mark.parametrize("name", NAMES)
def test_one_wrong_element_fails_a_test(name):
    """First, middle and last of the elements that each result writes; an operation without results has no effect."""
    tests = {
        test: function for operation, test, function in collected.marked() if operation == name and "[" not in test
    }
    changed = 0
    for result in range(2):
        for place in mutation.PLACES:
            caught = touched = False
            for function in tests.values():
                with mutation.wrong(name, result, place) as seen:
                    try:
                        function()
                    except (AssertionError, NkilabError):
                        caught = True
                touched = touched or bool(seen)
                if caught:
                    break
            assert caught or not touched, f"result {result}, {place} element: no test notices"
            changed += touched
    assert changed
