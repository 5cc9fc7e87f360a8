"""The last step of docs/walk.md with the mouse: the instruction of the attention part that waited longest lights its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nkilab
from nkilab.discover import load_file
from tests.profiler.views import browsing

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "decoder_block"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browsing.executable() is None, reason="no Chromium is installed (Debian: apt install chromium)"),
]
SPAN = """(start) => {
    const t = document.getElementById("timeline").timeline, model = t.model;
    const is = (i) => model.words[model.name[i]] === "LDWEIGHTS" && Math.abs(model.start[i] - start) < 1;
    const row = Array.from(model.start).findIndex((_, i) => is(i));
    t.show(start - 15000, start + 1500);
    return t.box(row);
}"""


@pytest.fixture(scope="module")
def plain() -> Any:
    draw = load_file(FOLDER / "inputs.py")
    arguments = draw.inputs(draw.AXES | {"dtype": "bfloat16"}, np.random.default_rng(0))
    sim = nkilab.Sim(values=False)
    return nkilab.simulate(load_file(FOLDER / "plain.py").decoder_block, *arguments, sim=sim, heads=4).profile


def test_a_click_on_the_instruction_that_waited_lights_its_line(plain: Any, tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed (dev extra)")
    part = plain.between(*load_file(FOLDER / "mark.py").span_us(plain, "attention_part"))
    gaps = part.stalls().gaps.filter(engine="Tensor", cause="dma", opcode="LDWEIGHTS").sort("gap_ns", descending=True)
    gap = gaps.row(0, named=True)
    path = plain.report(tmp_path / "plain.html")
    with browsing.browser() as chromium:
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(path.as_uri())
        page.wait_for_selector(".nkt")
        page.locator("#section-timeline").scroll_into_view_if_needed()
        box = page.evaluate(SPAN, gap["end_ts"])
        at = page.locator(".nkt-canvas").bounding_box()
        page.mouse.click(at["x"] + box["x"] + box["w"] / 2, at["y"] + box["y"] + box["h"] / 2)
        lit = page.locator(".nkt-lit")
        assert lit.get_attribute("data-line") == str(gap["line"])
        assert "nc_transpose" in lit.inner_text()
        assert f"plain.py:{gap['line']} in transposed" in page.locator(".nkt-details").inner_text()
