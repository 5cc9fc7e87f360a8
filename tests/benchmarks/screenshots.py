"""Pictures to look at: the report of 20,000 instructions and the widget in a running JupyterLab, light and dark.

python tests/benchmarks/screenshots.py FOLDER      (needs the dev and notebook extras and an installed Chromium)
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "profiler" / "views")]

import browsing  # noqa: E402
import synthetic  # noqa: E402

from nkilab.profiler.views.report import report_html  # noqa: E402

COUNT = 20_000
CELLS = (
    f"import sys; sys.path[:0] = {sys.path[:2]!r}\nimport synthetic\np = synthetic.profile({COUNT}, jitter=True)",
    'p.timeline("scaled matmul")',
    "p.engines()",
)
# Zoomed in, one instruction selected, two marks set.
POSE = """(host) => {
  const t = (document.querySelector(host) ?? document.querySelector(".nkt").parentElement).timeline;
  const i = Math.floor(t.model.count / 4);
  t.show(t.model.start[i] - 2000, t.model.start[i] + 4000);
  t.select(i);
  t.mark(t.model.start[i]);
  t.mark(t.model.finish[i] + 700);
}"""


def report(chromium: Any, folder: Path, scheme: str) -> None:
    """The whole report, and its timeline zoomed in."""
    path = folder / "report.html"
    path.write_text(report_html(synthetic.profile(COUNT, jitter=True), "20 000 instructions"), encoding="utf-8")
    page = chromium.new_page(viewport={"width": 1440, "height": 1000}, color_scheme=scheme)
    page.goto(path.as_uri())
    page.wait_for_selector(".nkt")
    page.screenshot(path=folder / f"report-{scheme}.png", full_page=True)
    page.evaluate(POSE, "#timeline")
    page.locator(".nkt").screenshot(path=folder / f"timeline-{scheme}.png")
    page.close()


def jupyter(chromium: Any, url: str, folder: Path, scheme: str) -> None:
    """The widget in JupyterLab, all cells run."""
    page = chromium.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(f"{url}/lab/workspaces/{scheme}/tree/timeline.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
    _kernel_ready(url)
    page.wait_for_timeout(2000)  # the page connects to the kernel
    if scheme == "dark":
        page.get_by_text("Settings", exact=True).first.click()
        page.get_by_text("Theme", exact=True).first.hover()
        page.get_by_text("JupyterLab Dark", exact=True).first.click()
        page.wait_for_selector("body[data-jp-theme-light='false']", state="attached", timeout=60_000)
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).first.click()
    page.wait_for_selector(".nkt canvas", timeout=120_000)
    page.evaluate(POSE, "no such host")
    page.screenshot(path=folder / f"jupyterlab-{scheme}.png")
    page.close()


@contextmanager
def server(home: Path) -> Iterator[str]:
    """A JupyterLab of our own on a free port, with its settings in `home`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    options = ("--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1", "--IdentityProvider.token=")
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={home}"]
    running = subprocess.Popen(command, env={**os.environ, **own}, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _answering(url)
        yield url
    finally:
        running.terminate()
        running.wait(30)


def _answering(url: str) -> None:
    """Wait until the server answers."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{url}/api"):
                return
        except URLError:
            time.sleep(1)
    raise TimeoutError(f"{url} does not answer")


def _kernel_ready(url: str) -> None:
    """Wait until the notebook's kernel runs; before, JupyterLab would ask which kernel to take."""
    for _ in range(120):
        with urllib.request.urlopen(f"{url}/api/sessions") as answer:
            if any(session["kernel"]["execution_state"] == "idle" for session in json.load(answer)):
                return
        time.sleep(1)
    raise TimeoutError("no kernel runs")


def notebook(path: Path) -> None:
    """A notebook of `CELLS`."""
    cells = [{"cell_type": "code", "id": f"cell-{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": text} for n, text in enumerate(CELLS)]  # fmt: skip
    spec = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
    path.write_text(json.dumps({"cells": cells, "metadata": spec, "nbformat": 4, "nbformat_minor": 5}))


def main() -> None:
    """Write all pictures into the folder named on the command line."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "nkilab-out/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, browsing.browser() as chromium:
        notebook(Path(home) / "timeline.ipynb")
        with server(Path(home)) as url:
            for scheme in ("light", "dark"):
                report(chromium, folder, scheme)
                jupyter(chromium, url, folder, scheme)
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
