"""The report in a real browser: click, zoom, measure, search, follow dependences, and nothing of a profile ever runs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nkilab.profiler import Profile
from nkilab.profiler.views.report import report_html
from nkilab.profiler.views.timeline import pack, script, style, timeline
from tests.profiler.views import browsing, synthetic
from tests.profiler.views.test_report import HOSTILE, hostile_profile

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browsing.executable() is None, reason="no Chromium is installed (Debian: apt install chromium)"),
]
Open = Callable[..., Any]
COUNT = 400


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    pytest.importorskip("playwright", reason="playwright is not installed (dev extra)")
    with browsing.browser() as running:
        yield running


@pytest.fixture
def open_report(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Open the report of a profile; afterwards, no script error may have happened and nothing been fetched."""
    errors: list[str] = []
    fetched: list[str] = []
    pages: list[Any] = []

    def opened(profile: Profile, title: str = "", expected: str = "no such error", **context: Any) -> Any:
        path = tmp_path / "report.html"
        path.write_text(report_html(profile, title), encoding="utf-8")
        page = chromium.new_page(viewport={"width": 1400, "height": 1000}, **context)
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                errors.append(message.text) if message.type == "error" and expected not in message.text else None
            ),
        )
        page.on("request", lambda request: fetched.append(request.url) if not request.url.startswith("file:") else None)
        page.goto(path.as_uri())
        page.wait_for_selector(".nkt")
        page.locator("#section-timeline").scroll_into_view_if_needed()
        return page

    yield opened
    for page in pages:
        page.close()
    assert errors == []
    assert fetched == []


@pytest.fixture
def report(open_report: Open) -> Any:
    return open_report(synthetic.profile(COUNT))


def ask(page: Any, expression: str, argument: Any = None) -> Any:
    """A value of the timeline `t` on the page."""
    return page.evaluate(
        f"(arg) => {{ const t = document.getElementById('timeline').timeline; return ({expression}); }}", argument
    )


def row_of(page: Any, opcode: str, nth: int = 0) -> int:
    """Row of the nth span of an opcode."""
    rows = ask(page, "Array.from(t.model.name).flatMap((n, i) => t.model.words[n] === arg ? [i] : [])", opcode)
    return int(rows[nth])


def click_span(page: Any, row: int) -> None:
    """Click on a span with the mouse."""
    box = ask(page, "t.box(arg)", row)
    at = page.locator(".nkt-canvas").bounding_box()
    page.mouse.click(at["x"] + box["x"] + box["w"] / 2, at["y"] + box["y"] + box["h"] / 2)


def in_sight(page: Any) -> tuple[float, float]:
    return tuple(ask(page, "[t.view.t0, t.view.t1]"))  # type: ignore[return-value]


def coloured(page: Any) -> int:
    """Pixels of the chart that are painted in full colour."""
    return int(
        ask(
            page,
            "(() => { const d = t.canvas.getContext('2d').getImageData(0, 0, t.canvas.width, t.canvas.height).data; let n = 0; for (let k = 0; k < d.length; k += 4) if (d[k + 3] > 250 && Math.max(d[k], d[k + 1], d[k + 2]) - Math.min(d[k], d[k + 1], d[k + 2]) > 60) n++; return n; })()",
        )
    )


def settle(page: Any) -> None:
    """Wait for two frames."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_what_the_browser_decodes_is_what_the_profile_holds(report: Any) -> None:
    executed = synthetic.profile(COUNT).table("Instruction").sort("start_ts")
    spans = ask(
        report,
        "Array.from(t.model.start, (s, i) => [s, t.model.finish[i], t.model.words[t.model.name[i]], t.model.tracks[t.model.track[i]].group])",
    )
    drawn = sorted(
        (round(start, 3), round(end, 3), name)
        for start, end, name, group in spans
        if group == "Core 0" and " of " not in name
    )
    assert drawn == sorted(
        zip(executed["start_ts"].to_list(), executed["end_ts"].to_list(), executed["opcode"].to_list(), strict=True)
    )


def test_clicking_an_instruction_lights_its_line(report: Any) -> None:
    ask(report, "t.show(0, 6000)")
    click_span(report, row_of(report, "ACTIVATE", 2))
    assert report.locator(".nkt-lit").get_attribute("data-line") == "22"
    assert report.locator(".row.lit").get_attribute("data-line") == "22", "the listing below lights as well"
    details = report.locator(".nkt-details").inner_text()
    assert "ACTIVATE" in details
    assert "scaled_matmul.py:22 in scaled_matmul" in details
    assert "470.0 ns" in details


def test_clicking_a_line_lights_its_instructions(report: Any) -> None:
    ask(report, "t.show(0, 6000)")
    settle(report)
    before = coloured(report)
    report.locator(".nkt-line[data-line='23']").click()
    settle(report)
    marked = ask(report, "Array.from(t.marked).flatMap((m, i) => m ? [t.model.words[t.model.name[i]]] : [])")
    assert set(marked) == {"TENSOR_SCALAR"}
    assert len(marked) == COUNT // 8
    assert 0 < coloured(report) < before / 2, "all others are dimmed"
    report.locator(".nkt-line[data-line='23']").click()
    settle(report)
    assert coloured(report) == before, "a second click takes the light away"


def test_a_line_of_the_listing_lights_its_instructions_too(report: Any) -> None:
    report.locator("button.row[data-line='20']").click()
    assert ask(report, "t.marked.reduce((a, b) => a + b)") == 3 * COUNT // 8
    assert report.locator(".nkt-lit").get_attribute("data-line") == "20"


def test_a_finding_leads_to_nothing_rather_than_a_wrong_line(report: Any) -> None:
    report.locator(".finding .place").click()
    assert ask(report, "t.marked === null"), "line 16 has no instruction"


def test_wheel_zooms_at_the_pointer_and_shift_wheel_pans(report: Any) -> None:
    at = report.locator(".nkt-canvas").bounding_box()
    report.mouse.move(at["x"] + at["width"] / 4, at["y"] + 60)
    t0, t1 = in_sight(report)
    under = t0 + (t1 - t0) / 4
    report.mouse.wheel(0, -600)
    a0, a1 = in_sight(report)
    assert a1 - a0 < 0.6 * (t1 - t0)
    assert a0 + (a1 - a0) / 4 == pytest.approx(under, abs=1.5 * (t1 - t0) / at["width"])
    report.keyboard.down("Shift")
    report.mouse.wheel(0, 200)
    report.keyboard.up("Shift")
    b0, b1 = in_sight(report)
    assert b0 > a0
    assert b1 - b0 == pytest.approx(a1 - a0)


def test_keys_zoom_pan_fit_and_never_leave_the_run(report: Any) -> None:
    report.locator(".nkt-canvas").focus()
    whole = in_sight(report)
    for _ in range(3):
        report.keyboard.press("+")
    near = in_sight(report)
    assert near[1] - near[0] < 0.5 * whole[1]
    report.keyboard.press("ArrowRight")
    assert in_sight(report)[0] > near[0]
    for _ in range(60):
        report.keyboard.press("a")
    assert in_sight(report)[0] == 0
    for _ in range(80):
        report.keyboard.press("-")
    assert in_sight(report) == pytest.approx(whole)
    report.keyboard.press("+")
    report.keyboard.press("0")
    assert in_sight(report) == pytest.approx(whole)


def test_dragging_pans_and_dragging_on_the_ruler_zooms_to_the_range(report: Any) -> None:
    at = report.locator(".nkt-ruler").bounding_box()
    whole = in_sight(report)
    report.mouse.move(at["x"] + at["width"] * 0.25, at["y"] + 10)
    report.mouse.down()
    report.mouse.move(at["x"] + at["width"] * 0.5, at["y"] + 10, steps=4)
    report.mouse.up()
    assert in_sight(report) == pytest.approx((whole[1] * 0.25, whole[1] * 0.5), rel=0.02)
    canvas = report.locator(".nkt-canvas").bounding_box()
    before = in_sight(report)
    report.mouse.move(canvas["x"] + 400, canvas["y"] + 200)
    report.mouse.down()
    report.mouse.move(canvas["x"] + 300, canvas["y"] + 200, steps=4)
    report.mouse.up()
    assert in_sight(report)[0] > before[0]


def test_two_marks_measure_and_snap_to_edges(report: Any) -> None:
    ask(report, "t.show(0, 6000)")
    row = row_of(report, "ACTIVATE", 1)
    box, at = ask(report, "t.box(arg)", row), report.locator(".nkt-canvas").bounding_box()
    report.locator(".nkt-canvas").focus()
    for x in (box["x"] + 2, box["x"] + box["w"] - 2):
        report.mouse.move(at["x"] + x, at["y"] + box["y"] + box["h"] / 2)
        report.keyboard.press("m")
    assert ask(report, "Math.abs(t.marks[1] - t.marks[0])") == pytest.approx(470.0)
    assert "between marks: 470.0 ns" in report.locator(".nkt-status").inner_text()
    report.keyboard.press("Escape")
    assert ask(report, "t.marks.length") == 0


def test_search_counts_and_steps_through_hits_in_time_order(report: Any) -> None:
    report.locator(".nkt-canvas").focus()
    report.keyboard.press("/")
    report.keyboard.type("tensor_scalar")
    assert report.locator(".nkt-count").inner_text() == f"{COUNT // 8} hits"
    report.keyboard.press("Enter")
    first = ask(report, "t.model.start[t.selected]")
    report.keyboard.press("n")
    second = ask(report, "t.model.start[t.selected]")
    report.keyboard.press("N")
    assert first < second
    assert ask(report, "t.model.start[t.selected]") == first
    assert ask(report, "t.search('no such thing')") == 0


def test_search_finds_operands(report: Any) -> None:
    assert ask(report, "t.search('src=bf16@0x1c0[')") == 1


def test_dependences_of_the_selection_are_listed_and_followed(report: Any) -> None:
    ask(report, "t.select(arg)", row_of(report, "ACTIVATE", 3))
    flows = report.locator(".nkt-flows").inner_text()
    assert "waits for (2)" in flows
    assert "MATMUL · Tensor · flow · gap 4.000 ns" in flows
    report.locator(".nkt-canvas").focus()
    report.keyboard.press("p")
    assert ask(report, "t.model.words[t.model.name[t.selected]]") == "MATMUL"
    report.keyboard.press("c")
    assert ask(report, "t.model.words[t.model.name[t.selected]]") == "ACTIVATE"


def test_period_and_comma_step_along_the_track(report: Any) -> None:
    row = row_of(report, "TENSOR_SCALAR", 4)
    ask(report, "t.select(arg)", row)
    report.locator(".nkt-canvas").focus()
    report.keyboard.press(".")
    assert ask(report, "t.selected") == row + 1
    report.keyboard.press(",")
    assert ask(report, "t.selected") == row


def test_hovering_shows_name_time_and_line(report: Any) -> None:
    ask(report, "t.show(0, 6000)")
    box, at = ask(report, "t.box(arg)", row_of(report, "ACTIVATE", 1)), report.locator(".nkt-canvas").bounding_box()
    report.mouse.move(at["x"] + box["x"] + box["w"] / 2, at["y"] + box["y"] + box["h"] / 2)
    assert report.locator(".nkt-tip").inner_text().split("\n") == [
        "ACTIVATE",
        "470.0 ns at 1.840 µs",
        "Scalar",
        "scaled_matmul.py:22",
    ]


def test_groups_fold_and_help_opens_by_key(report: Any) -> None:
    assert report.locator(".nkt-name", has_text="Vector").count() == 1
    report.get_by_role("button", name="▾ Core 0").click()
    assert report.locator(".nkt-name", has_text="Vector").count() == 0
    report.locator(".nkt-canvas").focus()
    report.keyboard.press("?")
    assert report.get_by_role("dialog").is_visible()
    report.keyboard.press("Escape")
    assert not report.locator(".nkt-help").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_readers_scheme_and_can_switch(open_report: Open, scheme: str) -> None:
    page = open_report(synthetic.profile(80), color_scheme=scheme)
    back = "getComputedStyle(document.body).backgroundColor"
    assert page.locator(".nkt").get_attribute("data-scheme") == scheme
    before = page.evaluate(back)
    page.locator("#scheme").click()
    page.wait_for_function("(was) => document.querySelector('.nkt').dataset.scheme !== was", arg=scheme)
    assert page.evaluate(back) != before


def test_controls_have_names_for_screen_readers(report: Any) -> None:
    unnamed = report.evaluate(
        "[...document.querySelectorAll('button, input, select, canvas:not([aria-hidden])')].filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.title)).length"
    )
    assert unnamed == 0
    assert "400 spans" not in report.locator(".nkt-canvas").get_attribute("aria-label"), (
        "transfers and windows count too"
    )
    assert report.get_by_role("application").get_attribute("aria-label").startswith("Timeline: ")


def test_hostile_names_stay_text_everywhere(open_report: Open) -> None:
    page = open_report(hostile_profile(), HOSTILE)
    ask(page, "t.show(0, 3000)")
    click_span(page, row_of(page, HOSTILE, 0))
    box, at = ask(page, "t.box(arg)", row_of(page, HOSTILE, 1)), page.locator(".nkt-canvas").bounding_box()
    page.mouse.move(at["x"] + box["x"] + box["w"] / 2, at["y"] + box["y"] + 3)
    page.locator(".nkt-line[data-line='20']").click()
    settle(page)
    assert HOSTILE in page.locator(".nkt-details").inner_text()
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.evaluate("document.title") == HOSTILE
    assert page.evaluate("document.querySelectorAll('script').length") == 2


def test_a_script_that_got_in_would_not_run(open_report: Open) -> None:
    page = open_report(synthetic.profile(80), expected="Content Security Policy")
    page.evaluate("() => addEventListener('securitypolicyviolation', () => { window.refused = true; })")
    inject = "const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s);"
    assert page.evaluate(f"() => {{ {inject} return Boolean(window.ran); }}") is False
    page.wait_for_function("window.refused === true")


NOTEBOOK = """async ([source, data]) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const traits = { data: new DataView(bytes.buffer), height: 400, scheme: "auto", saved: 0 };
  window.traits = traits;
  const model = { get: (name) => traits[name], set: (name, value) => { traits[name] = value; }, save_changes: () => { traits.saved++; } };
  document.body.replaceChildren(document.createElement("div"));
  window.stop = await widget.render({ model, el: document.body.firstChild });
}"""


def test_the_same_module_runs_as_a_notebook_widget_and_reports_clicks(chromium: Any) -> None:
    page = chromium.new_page()
    page.evaluate("() => { document.body.dataset.jpThemeLight = 'false'; }")
    data = base64.b64encode(pack(timeline(synthetic.profile(80)))).decode()
    page.add_style_tag(content=style())
    page.evaluate(NOTEBOOK, [script(), data])
    assert page.locator(".nkt").get_attribute("data-scheme") == "dark", "JupyterLab's theme is followed"
    page.evaluate("() => { document.body.dataset.jpThemeLight = 'true'; }")
    page.wait_for_selector(".nkt[data-scheme='light']")
    page.locator(".nkt-line[data-line='23']").click()
    page.locator(".nkt-canvas").focus()
    page.keyboard.press("n")
    traits = page.evaluate("({ selected: traits.selected, place: traits.place, saved: traits.saved })")
    assert traits["place"] == {"file": synthetic.FILE, "line": 23}
    assert traits["selected"] >= 0
    assert traits["saved"] > 0
    page.evaluate("stop()")
    assert page.locator(".nkt").count() == 0
    page.close()


def test_a_profile_without_spans_shows_an_empty_timeline(open_report: Open) -> None:
    from nkilab.profiler import Origin

    page = open_report(Profile.build({}, Origin("summary", "x.json")))
    assert ask(page, "t.model.count") == 0
    page.locator(".nkt-canvas").focus()
    for key in ("+", "m", ".", "n", "p", "Escape"):
        page.keyboard.press(key)
    settle(page)
