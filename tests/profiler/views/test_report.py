"""The report is one self-contained page that says what it knows, what it does not, and never runs a profile's text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import UsageError
from nkilab.profiler import Origin, Profile
from nkilab.profiler.views.markup import Html, tag
from nkilab.profiler.views.report import report_html, write_report
from tests.profiler.views import synthetic

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">'\"&<!--"


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def hostile_profile() -> Profile:
    """A profile whose every text is an attack."""
    profile = synthetic.profile(80, source=f"{HOSTILE}\n" * 30, file=f"k{HOSTILE}.py")
    tables: dict[str, pl.DataFrame] = {}
    for name in profile.names:
        table = profile.table(name)
        kept = {"engine", "file", "in_table", "out_table", "cost_class", "key", "text"}
        texts = [
            column
            for column, dtype in table.schema.items()
            if dtype == pl.String and column not in kept and table[column].null_count() < table.height
        ]
        tables[name] = table.with_columns(pl.lit(HOSTILE).alias(column) for column in texts)
    warning = pl.DataFrame({"category": [HOSTILE], "message": [HOSTILE]})
    return Profile.build({**tables, "Warning": warning}, Origin("simulated", HOSTILE, HOSTILE), notes=(HOSTILE,))


MANUAL = "https://awsdocs-neuron.readthedocs-hosted.com/"


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(report_html(synthetic.profile(400), "scaled_matmul on trn2"))


def test_nothing_is_fetched(page: Page) -> None:
    links = [e for e in page.elements if {"src", "href", "srcset", "action"} & set(e[1])]
    assert all(name == "a" and link["href"].startswith(MANUAL) for name, link in links), "links to the manual only"
    assert {name for name, _ in page.elements}.isdisjoint({"link", "iframe", "img", "object", "embed", "base", "form"})
    policy = next(
        a["content"] for name, a in page.elements if name == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert re.search(r"script-src 'sha256-[^']+';", policy)


def test_a_simulation_is_called_modelled_with_its_confidence(page: Page) -> None:
    assert "modelled" in page.text
    assert "Times are modelled, not measured." in page.text
    assert "70% calibrated" in page.text
    assert "5% guessed" in page.text


def test_the_range_of_a_modelled_time_is_shown() -> None:
    facts = pl.DataFrame({"key": ["body_ns", "body_low_ns", "body_high_ns"], "value": ["10000", "9000", "12500"]})
    text = Page(report_html(synthetic.profile(80).with_tables({"Metadata": facts}))).text
    assert "The kernel's 10.00 µs lie between 9.00 and 12.50 µs." in text


def test_a_measurement_is_called_measured_and_claims_no_confidence() -> None:
    text = Page(report_html(synthetic.profile(80, simulated=False))).text
    assert "measured" in text
    assert "modelled" not in text
    assert "calibrated" not in text


def test_findings_name_their_code_line_and_fix(page: Page) -> None:
    assert "live-sbuf" in page.text
    assert "kernels/scaled_matmul.py:16 in scaled_matmul" in page.text
    assert "use fewer buffers" in page.text


def test_each_number_stands_with_its_definition(page: Page) -> None:
    assert "Total time" in page.text
    assert "length of the execution on the device" in page.text
    assert "union of spans ÷ total time" in page.text


def test_lines_stand_with_their_time(page: Page) -> None:
    rows = {a["data-line"]: a for name, a in page.elements if name == "button" and a.get("class") == "row"}
    assert set(rows) == {"17", "19", "20", "22", "23", "24"}
    assert "Scalar 23.50 µs" in str(rows["22"]["title"])
    assert "nisa.nc_matmul(psum, left, right)" in page.text


def test_missing_data_is_said_before_any_number() -> None:
    bare = Profile.build(
        {"Instruction": pl.DataFrame({"start_ts": [0.0], "end_ts": [900.0], "engine": "Tensor", "opcode": "MATMUL"})},
        Origin("ntff", "a.ntff"),
        notes=("events were dropped",),
    )
    text = Page(report_html(bare)).text
    gaps = text.index("Missing or doubtful")
    assert gaps < text.index("events were dropped") < text.index("Total time")
    assert gaps < text.index("No source lines in this profile") < text.index("Total time")


def test_an_empty_profile_still_gives_a_page_that_says_so() -> None:
    text = Page(report_html(Profile.build({}, Origin("summary", "x.json")))).text
    assert "No instructions in this profile" in text
    assert "no metric can be determined" in text


def test_hostile_text_becomes_text() -> None:
    html = report_html(hostile_profile(), HOSTILE)
    page = Page(html)
    assert "img" not in {name for name, _ in page.elements}
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert [name for name, _ in page.elements].count("script") == 2
    assert "onerror=" in page.text, "the text itself is shown"
    assert "<img" not in html


def test_the_file_is_the_page_and_never_replaced_silently(tmp_path: Path) -> None:
    profile = synthetic.profile(80)
    path = write_report(profile, tmp_path / "new" / "report.html", "t")
    assert path.read_text(encoding="utf-8") == report_html(profile, "t")
    with pytest.raises(UsageError, match="exists"):
        write_report(profile, path)
    assert write_report(profile, path, force=True) == path


def test_markup_escapes_what_is_not_markup() -> None:
    assert (
        tag("b", "<i>", Html("<i></i>"), None, title='"<', hidden=True, data_line="1")
        == '<b title="&quot;&lt;" hidden data-line="1">&lt;i&gt;<i></i></b>'
    )


@pytest.mark.slow
def test_300_000_instructions_stay_below_20_mb() -> None:
    assert len(report_html(synthetic.profile(300_000, jitter=True)).encode()) <= 20e6


def test_a_real_profile_reports_its_own_numbers(shared_profiles: Path) -> None:
    from nkilab.profiler.readers import read

    text = Page(report_html(read(shared_profiles / "trn2-attention" / "fused_bf16_s512" / "profile.json"))).text
    assert "36.35 µs" in text
    assert "480.0 KiB" in text
    assert text.index("--enable-dge-notifs") < text.index("36.35 µs")


def test_conclusions_stand_before_the_timeline_with_their_lines(page: Page) -> None:
    order = [a["id"] for _, a in page.elements if (a.get("id") or "").startswith("section-")]
    assert order.index("section-advice") < order.index("section-stalls") < order.index("section-timeline")
    assert "section-bounds" in order
    places = {a["data-line"] for name, a in page.elements if name == "button" and "data-line" in a}
    assert places


def test_a_profile_without_instructions_has_no_conclusions() -> None:
    bare = synthetic.profile(400).with_tables({"Instruction": None, "Flow": None})
    assert "section-advice" not in report_html(bare)
