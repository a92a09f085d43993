"""
Check pages in a browser with axe-core: ``make test ARGS="--live tests/report/test_accessibility.py"``.

The tests need Chromium on ``PATH``, and the file ``axe.min.js`` of the npm package axe-core in the variable ``AXE``. They load nothing.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lamina.report.contents import contents_section
from lamina.report.page import render
from lamina.report.values import ReportPage
from report.made import hostile_page, large_layer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_RUN = """
document.querySelectorAll('details').forEach(each => each.open = true);
axe.run(document, {resultTypes: ['violations']}).then(found => {
  const answer = {violations: found.violations, passes: found.passes.length, title: document.title,
    scroll: document.documentElement.scrollWidth - innerWidth};
  document.body.innerHTML = '';
  document.body.appendChild(document.createElement('pre')).textContent = 'ANSWER' + JSON.stringify(answer) + 'END';
});
"""


@pytest.fixture
def tools() -> tuple[str, str]:
    """Return the path of the browser and the source of axe-core."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None or "AXE" not in os.environ:
        pytest.skip("needs Chromium, and the path of axe.min.js in the variable AXE")
    return browser, Path(os.environ["AXE"]).read_text(encoding="utf-8")


def pages() -> Iterator[ReportPage]:
    yield hostile_page()
    yield ReportPage(title="large", facts=(("Service", "shop"),), sections=(contents_section([large_layer()]),))


@pytest.mark.parametrize("number", [0, 1], ids=["hostile", "large"])
@pytest.mark.parametrize(
    "options", [("--window-size=1280,900",), ("--window-size=500,900", "--blink-settings=preferredColorScheme=0")]
)
def test_axe_finds_nothing(tools: tuple[str, str], tmp_path: Path, number: int, options: tuple[str, ...]) -> None:
    """axe-core finds no violation in wide light and in narrow dark pages, and nothing but tables and charts scrolls sideways."""
    browser, axe = tools
    content = render([*pages()][number]).decode()
    # axe is a script, which the policy of the page forbids.
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    assert 1 == len(policy.findall(content))
    page = tmp_path / "page.html"
    page.write_text(policy.sub("", content).replace("</body>", f"<script>{axe}</script><script>{_RUN}</script></body>"))
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        *options,
    ]
    made = subprocess.run(
        [*command, "--virtual-time-budget=60000", "--dump-dom", page.as_uri()],
        capture_output=True,
        check=True,
        text=True,
    )
    found = re.search("ANSWER(.*)END</pre>", made.stdout, re.DOTALL)
    assert found is not None
    answer: dict[str, Any] = json.loads(html.unescape(found[1]))

    assert [] == [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in answer["violations"]]
    assert 10 < answer["passes"]
    assert answer["scroll"] <= 0
