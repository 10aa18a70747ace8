"""The page as a browser sees it. Needs Chromium (Debian: apt-get install chromium), as .ci/run installs it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lawder_edge.bench.page import to_html
from lawder_edge.bench.report import HEADINGS
from lawder_edge.bench.rows import BenchReport

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt-get install chromium"),
]


def shown(page: str, folder: Path) -> tuple[str, str]:
    """The document after its scripts ran, and what the browser logged."""
    file = folder / "page.html"
    file.write_text(page)
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def order_after(clicks: int, column: int, report: BenchReport, folder: Path) -> list[str]:
    """First cells of the rows, top to bottom."""
    click = f"document.querySelectorAll('th')[{column}].click();" * clicks
    document, log = shown(to_html(report).replace("</body>", f"<script>{click}</script></body>"), folder)
    assert "CONSOLE" not in log
    body = re.search(r"<tbody>(.*?)</tbody>", document, re.DOTALL)
    assert body is not None
    return re.findall(r"<tr><td>([^<]*)</td>", body[1])


def test_a_click_on_a_heading_sorts_by_it_with_what_is_missing_last(bench_report: BenchReport, tmp_path: Path) -> None:
    column = HEADINGS.index("p50 ms")
    assert order_after(0, column, bench_report, tmp_path) == ["good", "fast", "bad"]
    assert order_after(1, column, bench_report, tmp_path) == ["fast", "good", "bad"]
    assert order_after(2, column, bench_report, tmp_path) == ["good", "fast", "bad"]
