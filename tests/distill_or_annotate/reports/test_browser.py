"""A report in headless Chromium: every picture loads, tables are whole, nothing overflows a phone, no script fails.

Needs Chromium (`make test-browser` installs it and runs this file). Without it these tests are skipped, and say so;
with DOA_NEEDS_BROWSER=1 they fail instead.
"""

import html
import json
import os
import re
import shutil
import subprocess
import warnings

import pytest

from distill_or_annotate.reports import build_all

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
MISSING = "NO BROWSER: the report was not loaded in Chromium. Install it with launch/install_browser.sh (Debian)."
if BROWSER is None:
    warnings.warn(MISSING, stacklevel=1)
pytestmark = [
    pytest.mark.skipif(BROWSER is None and not os.environ.get("DOA_NEEDS_BROWSER"), reason=MISSING),
    pytest.mark.timeout(180),
]

# What a reader's browser knows of the page once it has loaded; the page itself has no script.
_PROBE = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  const seen = {
    images: images.length,
    loaded: images.filter(image => image.complete && image.naturalWidth > 0).length,
    captions: [...document.querySelectorAll("figcaption")].filter(each => each.offsetHeight > 0).length,
    tables: [...document.querySelectorAll("table")].map(table =>
      [table.rows.length, table.offsetWidth > 0 || !!table.closest("details")]),
    first_screen: [...document.querySelectorAll(".answer, .facts, .cards section:first-child h3")]
      .map(each => each.getBoundingClientRect().top < innerHeight),
    overflow: document.documentElement.scrollWidth - innerWidth,
    width: innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    requests: performance.getEntriesByType("resource").filter(each => !each.name.startsWith("data:")).length,
  };
  document.body.insertAdjacentHTML("beforeend", "<pre id=probe></pre>");
  document.getElementById("probe").textContent = JSON.stringify(seen);
});
</script>"""


def _load(page, profile, size="1280,900", more=(), head=_PROBE):
    """Returns what the probe saw, and the errors of the browser's console."""
    assert BROWSER is not None, MISSING
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text(encoding="utf-8").replace("</head>", f"{head}</head>", 1), encoding="utf-8")
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    words += [f"--user-data-dir={profile}", f"--window-size={size}", "--virtual-time-budget=5000", *more]
    words += ["--enable-logging=stderr", "--dump-dom", probed.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page did not load: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return json.loads(html.unescape(found.group(1))), console


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """A browser profile of this file's own."""
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def drawn():
    """Holds the page once it has been drawn, which takes seconds."""
    return {}


@pytest.fixture
def page(answered_run, tmp_path, drawn):
    """The page of a run with answers, beside the paper's numbers."""
    path = tmp_path / "page" / "index.html"
    path.parent.mkdir()
    if not drawn:
        built = build_all([answered_run()], tmp_path / "report", with_paper=True)
        drawn["page"] = built.read_text(encoding="utf-8")
    path.write_text(drawn["page"], encoding="utf-8")
    return path


def test_a_report_loads_whole_on_a_desk_and_on_a_phone(page, profile):
    text = page.read_text(encoding="utf-8")
    for size in ("1280,900", "390,844"):
        seen, console = _load(page, profile, size)
        assert console == []
        # The Pareto figure of the run and the paper's six.
        assert (seen["images"], seen["loaded"], seen["captions"]) == (7, 7, 7)
        assert len(seen["tables"]) == text.count("<table") > 20
        assert all(n_rows > 1 and shown for n_rows, shown in seen["tables"][:5])
        assert seen["requests"] == 0
        assert seen["overflow"] <= 0, f"{size}: the page is {seen['overflow']} pixels wider than the window"
        assert seen["first_screen"] == [True, True, True]
    assert seen["width"] < 600


def test_a_dark_reader_gets_a_dark_page(page, profile):
    light, _ = _load(page, profile)
    dark, _ = _load(page, profile, more=["--blink-settings=preferredColorScheme=0"])
    assert light["background"] == "rgb(255, 255, 255)" and dark["background"] != light["background"]


def test_the_check_sees_a_script_error_and_a_broken_picture(page, profile):
    broken = page.with_name("broken.html")
    text = page.read_text(encoding="utf-8")
    broken.write_text(
        text.replace("</main>", '<img src="data:image/png;base64,AAAA" alt=""><script>nowhere()</script></main>')
    )
    seen, console = _load(broken, profile)
    assert seen["loaded"] == seen["images"] - 1
    assert any("nowhere is not defined" in line for line in console)


def test_a_report_prints(page, profile, tmp_path):
    assert BROWSER is not None, MISSING
    out = tmp_path / "report.pdf"
    words = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-pdf-header-footer",
    ]
    words += [f"--user-data-dir={profile}", f"--print-to-pdf={out}", page.as_uri()]
    subprocess.run(words, capture_output=True, timeout=120, check=True)
    data = out.read_bytes()
    assert data.startswith(b"%PDF") and data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") >= 3
