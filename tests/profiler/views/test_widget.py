"""The notebook widget holds the same timeline as the report, and says what to install where it cannot run."""

from __future__ import annotations

import gzip
import json
import sys

import pytest

from nkilab.errors import UsageError
from nkilab.profiler.views.timeline import Timeline, script, style, timeline
from tests.profiler.views import synthetic

MODULE = "nkilab.profiler.views.widget"


def test_the_widget_carries_the_timeline_of_the_profile() -> None:
    pytest.importorskip("anywidget", reason="the notebook extra is not installed")
    from nkilab.profiler.views.widget import timeline_widget

    profile = synthetic.profile(80)
    widget = timeline_widget(profile, "t", height=300, scheme="dark")
    assert json.loads(gzip.decompress(widget.data)) == json.loads(json.dumps(timeline(profile, "t")))
    assert (widget.height, widget.scheme, widget.selected) == (300, "dark", -1)
    with pytest.raises(UsageError, match="cannot be shown"):
        timeline_widget(profile, scheme="neon")


def test_without_anywidget_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(UsageError, match="anywidget") as caught:
        __import__(MODULE)
    assert 'pip install "nkilab[notebook]"' in caught.value.fix


def test_a_timeline_prints_and_tells_a_notebook_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Timeline(synthetic.profile(80), "t")
    assert str(shown).startswith("timeline: 114 spans in 10 tracks over "), "80 instructions, 30 transfers, 4 windows"
    assert shown.to_json()["title"] == "t"
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    assert "nkilab[notebook]" in shown._repr_mimebundle_()["text/plain"]


def test_a_notebook_shows_a_timeline_as_the_widget() -> None:
    pytest.importorskip("anywidget", reason="the notebook extra is not installed")
    bundle = Timeline(synthetic.profile(80))._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in str(bundle)


def test_the_module_is_one_file_without_imports() -> None:
    text = script()
    assert "\nimport " not in text
    assert 'from "./' not in text
    assert text.count("export default") == 1
    assert "innerHTML" not in text
    assert ".nkt" in style()
