"""docs/kernels.md: its pictures exist and are what `timeline_svg` draws, its floors are met, every kernel is in it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

import nkilab
from nkilab.bench.kernels_entries import FAMILIES
from nkilab.bench.kernels_picture import FIXED, LEFT, WIDTH, timeline_svg
from nkilab.bench.kernels_report import window
from nkilab.kernels.softmax import softmax

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def test_every_picture_of_the_page_exists_and_is_in_the_page() -> None:
    named = set(re.findall(r"\]\(kernels/([\w-]+\.svg)\)", PAGE))
    assert named == {path.name for path in (ROOT / "docs" / "kernels").glob("*.svg")}
    assert len(named) >= len(FAMILIES)
    for name in named:
        assert len(list(ET.parse(ROOT / "docs" / "kernels" / name).iter(f"{SVG}rect"))) > 10


def test_every_floor_of_the_page_is_met() -> None:
    rows = re.findall(r"\| ([\d.]+)% of \w+ \| (\d+)% \|", PAGE)
    assert len(rows) == sum(entry.floor is not None for family in FAMILIES for entry in family.entries)
    for share, floor in rows:
        assert float(share) >= float(floor)


def test_every_kernel_has_its_section() -> None:
    files = {path.stem.removesuffix("_cases") for path in (ROOT / "kernels").glob("*_cases.py")}
    shown = {family.module.__name__.rpartition(".")[2] for family in FAMILIES}
    assert files - shown == {"matmul"}  # the ladder, which `nkilab demo` shows


def test_a_timeline_shows_the_window_and_nothing_beside_it() -> None:
    x = np.zeros((1024, 512), nkilab.dtype("bf16"))
    run = nkilab.simulate(softmax, x, sim=nkilab.Sim(target="trn2", values=False))
    start, stop = window(run.body_us)
    assert 0 <= start < stop <= run.body_us
    picture = ET.fromstring(timeline_svg(run, start, stop))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert texts[: texts.index("DMA") + 1] == ["Vector", "Scalar", "GpSimd", "DMA"]
    assert {"ACTIVATE", "TENSOR_REDUCE", "DMA copy", f"{start:,.1f} us", f"{stop:,.1f} us"} <= set(texts)
    blocks = [rect for rect in picture.iter(f"{SVG}rect") if rect.get("fill") == FIXED["DMA copy"]]
    assert len(blocks) > 5
    for block in blocks[:-1]:
        left, width = float(block.attrib["x"]), float(block.attrib["width"])
        assert left >= LEFT
        assert left + width <= LEFT + WIDTH + 0.1
