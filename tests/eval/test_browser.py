"""The report as a browser draws it."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from commands.evaluate import main
from tests.eval.folders_on_disk import write_three

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HEADLESS = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
WIDTH = 1360


@pytest.fixture
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed; looked for {', '.join(BROWSERS)}")
    return [found, *HEADLESS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


def run(command, timeout_s=120):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_report_is_drawn_whole_and_without_a_network(tmp_path, browser):
    arguments = [*write_three(tmp_path, count=6), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--metrics", "ssim,psnr"]) == 0
    report = tmp_path / "out" / "report.html"
    page = report.read_text(encoding="utf-8")
    script = (
        "<script>addEventListener('load', () => { const images = [...document.images];"
        "document.body.dataset.found = [images.length,"
        " images.filter(i => i.complete && i.naturalWidth > 100).length,"
        " document.documentElement.scrollWidth <= innerWidth,"
        " performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length]"
        "})</script></body>"
    )
    probe = tmp_path / "probe.html"
    probe.write_text(page.replace("</body>", script), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    size = f"--window-size={WIDTH},3200"
    document = run([*browser, profile, size, "--dump-dom", probe.as_uri()])
    assert 'data-found="5,5,true,0"' in document  # pictures, drawn ones, no overflow, no requests

    picture = tmp_path / "report.png"
    run([*browser, profile, size, f"--screenshot={picture}", report.as_uri()])
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape[1] == WIDTH
    assert (pixels[:, -8:] > 240).all()  # nothing sticks out to the right
    for colour in ((0, 114, 178), (213, 94, 0)):  # FAST and RL in the plot
        assert (np.abs(pixels - colour).sum(axis=2) < 12).sum() > 50
    thirds = np.array_split(pixels[:2400], 3)
    assert all((third.min(axis=2) < 200).mean() > 0.02 for third in thirds)  # no part is empty
