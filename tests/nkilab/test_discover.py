"""Finding kernels and cases in files: one copy of each module, and an error that says what is there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import nkilab
from nkilab.discover import case_named, cases_in, kernel_named, load_file, split
from nkilab.errors import InputError, UsageError

KERNEL = "def double(x):\n    return 2 * x\n"
CASES = """
import nkilab
from {stem} import double

CASES = (nkilab.Case(kernel=double, inputs=lambda axes, rng: (1,), reference=double),)
"""


@pytest.fixture(autouse=True)
def _imports_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_name_after_the_colon_is_the_kernel(tmp_path: Path) -> None:
    file = write(tmp_path / "one.py", KERNEL)
    assert split(f"{file}:double") == (file, "double")
    assert split(str(file)) == (file, "")
    assert kernel_named(f"{file}:double")(3) == 6


def test_an_unknown_kernel_is_answered_with_the_nearest(tmp_path: Path) -> None:
    file = write(tmp_path / "two.py", KERNEL)
    with pytest.raises(UsageError, match="did you mean double"):
        kernel_named(f"{file}:doubel")


def test_a_file_without_a_name_lists_its_kernels(tmp_path: Path) -> None:
    file = write(tmp_path / "three.py", KERNEL)
    with pytest.raises(UsageError, match="it has double"):
        kernel_named(str(file))


def test_an_unknown_file_is_answered_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "kernel.py", KERNEL)
    with pytest.raises(UsageError, match=r"did you mean kernel\.py"):
        split(f"{tmp_path}/kernal.py:double")


def test_cases_stand_in_the_file_or_beside_it(tmp_path: Path) -> None:
    file = write(tmp_path / "four.py", KERNEL)
    assert cases_in(file) == ()
    write(tmp_path / "four_cases.py", CASES.format(stem="four"))
    (case,) = cases_in(file)
    assert case.kernel is kernel_named(f"{file}:double")
    assert case_named(f"{file}:double") is case
    assert case_named(f"{file}:triple") is None


def test_cases_of_another_type_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "five.py", "CASES = 3\n")
    with pytest.raises(UsageError, match=r"must be a tuple of nkilab\.Case"):
        cases_in(file)


def test_a_file_in_a_package_may_import_relatively(tmp_path: Path) -> None:
    write(tmp_path / "pack6" / "__init__.py", "")
    write(tmp_path / "pack6" / "helper.py", "FACTOR = 5\n")
    file = write(tmp_path / "pack6" / "kernel.py", "from .helper import FACTOR\ndef f(x):\n    return FACTOR * x\n")
    assert kernel_named(f"{file}:f")(2) == 10
    assert load_file(file).__name__ == "pack6.kernel"


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "same7.py", "def f(x):\n    return 1\n")
    second = write(tmp_path / "b" / "same7.py", "def f(x):\n    return 2\n")
    assert (kernel_named(f"{first}:f")(0), kernel_named(f"{second}:f")(0)) == (1, 2)


def test_a_file_named_as_a_library_does_not_replace_it(tmp_path: Path) -> None:
    import random

    file = write(tmp_path / "random.py", "def f(x):\n    return 4\n")
    assert kernel_named(f"{file}:f")(0) == 4
    assert sys.modules["random"] is random


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    import os

    file = write(tmp_path / "eight.py", "def f(x):\n    return 1\n")
    first = load_file(file)
    assert load_file(file) is first
    write(file, "def f(x):\n    return 2\n")
    os.utime(file, ns=(1, 1))
    assert kernel_named(f"{file}:f")(0) == 2


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\ndef f(:\n", 2, "not valid Python"),
        ("import nkilab\n\nimport no_such_module_at_all\n", 3, "ModuleNotFoundError"),
        ("x = 1\n1 / 0\n", 2, "ZeroDivisionError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(
    text: str, line: int, message: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "nine.py", text)
    with pytest.raises(InputError, match=message) as caught:
        load_file(file)
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == (str(file), line)


def test_nkilab_s_own_files_are_its_modules() -> None:
    root = Path(nkilab.__file__).resolve().parent.parent
    assert load_file(root / "reference" / "rmsnorm.py").__name__ == "nkilab.reference.rmsnorm"
