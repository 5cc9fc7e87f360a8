"""Measure the report and its timeline in headless Chromium: build time, size, first paint, frames while zooming, panning.

python tests/benchmarks/timeline.py [instructions …]      (default: 20000 300000)
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "profiler" / "views")]

import browsing  # noqa: E402
import synthetic  # noqa: E402

from nkilab.profiler.views.report import report_html  # noqa: E402

# One step per frame; gives milliseconds per frame as the browser showed them, and of those the painting's share.
FRAMES = """async ([step, count]) => {
  const timeline = document.getElementById("timeline").timeline;
  const act = { zoom: (k) => timeline.zoom(k < 30 ? 0.85 : 1 / 0.85, timeline.model.end * 0.4), pan: () => timeline.pan(0.02), marked: () => timeline.pan(0.02) }[step];
  if (step === "marked") timeline.selectLine(2);
  if (step !== "zoom") timeline.show(0, timeline.model.end * 0.5);
  const paint = timeline.paintNow.bind(timeline);
  let painting = 0;
  timeline.paintNow = () => { const from = performance.now(); paint(); painting += performance.now() - from; };
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  const from = performance.now();
  for (let k = 0; k < count; k++) { act(k); await frame(); }
  const spent = performance.now() - from;
  delete timeline.paintNow;
  return { frames_per_second: 1000 * count / spent, paint_ms: painting / count };
}"""
PAINTED = "() => performance.getEntriesByName('nkilab-painted')[0]?.startTime"


def measure(count: int, folder: Path) -> dict[str, object]:
    """Numbers for a report of `count` instructions."""
    profile = synthetic.profile(count, jitter=True)
    begin = time.perf_counter()
    page = report_html(profile)
    built = time.perf_counter() - begin
    path = folder / f"{count}.html"
    path.write_text(page, encoding="utf-8")
    with browsing.browser() as chromium:
        tab = chromium.new_page(viewport={"width": 1440, "height": 900})
        tab.goto(path.as_uri())
        painted = tab.wait_for_function(PAINTED, timeout=60_000).json_value()
        moves = {step: tab.evaluate(FRAMES, [step, 60]) for step in ("zoom", "pan", "marked")}
    return {
        "instructions": count,
        "build_s": round(built, 2),
        "report_mb": round(len(page) / 1e6, 2),
        "first_paint_ms": round(painted),
        **moves,
    }


def main() -> None:
    """Measure each size named on the command line."""
    counts = [int(word) for word in sys.argv[1:]] or [20_000, 300_000]
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            sys.stdout.write(json.dumps(measure(count, Path(folder))) + "\n")


if __name__ == "__main__":
    main()
