import base64
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from eval.category_plot import draw_categories
from eval.comparison import ORIGINAL, plan_comparison
from eval.contact_sheet import choose_images, draw_contact_sheet, quality_order
from eval.evaluation import evaluate
from eval.extremes import difference, draw_worst_and_best
from eval.metrics.registry import MetricSettings, make_metrics
from eval.plots import draw_quality_against_compute
from eval.report import write_report
from tests.eval.folders_on_disk import write_folder


@pytest.fixture
def folders(tmp_path):
    return {
        ORIGINAL: write_folder(tmp_path / "original", "none"),
        "FAST": write_folder(tmp_path / "fast", "schedule", spread=12),
        "RL": write_folder(tmp_path / "rl", "policy", spread=6),
    }


def run(folders, not_computed=None):
    candidates = {name: path for name, path in folders.items() if name != ORIGINAL}
    metrics, _ = make_metrics(["ssim", "psnr"], MetricSettings())
    comparison = plan_comparison(folders[ORIGINAL], candidates)
    return evaluate(comparison, metrics, not_computed=not_computed)


def test_the_page_holds_everything_and_needs_no_network(folders, tmp_path):
    result = run(folders, {"clip": "no weights here"})
    page = write_report(result, tmp_path / "out").read_text(encoding="utf-8")
    pictures = re.findall(r"src='data:image/png;base64,([^']+)'", page)
    assert len(pictures) == 5
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert not re.search(r"(src|href)=.?http", page)
    mean = result.summary["folders"]["RL"]["figures"]["ssim"]["mean"]
    assert f"{mean:.4f}" in page
    assert "clip: not computed</dt><dd>no weights here" in page
    assert "smooth" in page
    assert "RL - FAST" in page
    assert "Not computed (why: at the end of the page): clip" in page
    assert f"<b>{mean:.4f}</b>" in page  # RL has less noise on every image
    assert "RL is better in" in page or "a trade" in page


def test_folders_from_elsewhere_are_labelled(folders, tmp_path):
    (folders["FAST"] / "provenance.json").unlink()
    page = write_report(run(folders), tmp_path / "out").read_text(encoding="utf-8")
    assert page.count("none recorded: cannot be checked") == 1
    assert "no usable provenance.json in FAST" in page


def test_categories_are_drawn_where_there_are_some(folders, tmp_path):
    picture = np.asarray(Image.open(draw_categories(run(folders), tmp_path / "c.png"))).astype(int)
    for colour in ((0, 114, 178), (213, 94, 0)):  # FAST and RL
        assert (np.abs(picture[..., :3] - colour).sum(axis=2) < 12).sum() > 50
    for folder in folders.values():
        (folder / "meta_data.json").write_text("{}")
    assert draw_categories(run(folders), tmp_path / "none.png") is None


@pytest.mark.usefixtures("without_plots")
def test_many_candidates_are_rows_and_few_are_columns(folders, tmp_path):
    few = write_report(run(folders), tmp_path / "few").read_text(encoding="utf-8")
    assert "<td><b>SSIM ↑</b></td>" in few
    for index in range(5):
        folders[f"other {index}"] = write_folder(
            tmp_path / f"o{index}", "schedule", spread=2 + index
        )
    many = write_report(run(folders), tmp_path / "many").read_text(encoding="utf-8")
    assert "<th>SSIM ↑</th>" in many.split("By category")[0]


@pytest.mark.usefixtures("without_plots")
def test_hostile_texts_stay_texts(folders, tmp_path):
    evil = "<script>alert(1)</script>"
    folders[evil] = folders.pop("RL")
    metadata = folders[evil] / "meta_data.json"
    metadata.write_text(metadata.read_text().replace("smooth", "<b>x</b>"))
    (folders[ORIGINAL] / "meta_data.json").unlink()
    (folders["FAST"] / "meta_data.json").unlink()
    page = write_report(run(folders), tmp_path / "out").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<b>x" not in page
    assert "&lt;script&gt;" in page


def test_the_contact_sheet_shows_the_pixels_and_the_decisions(folders, tmp_path):
    result = run(folders)
    sheet = np.asarray(Image.open(draw_contact_sheet(result, tmp_path / "sheet.png", count=1)))
    (key,) = choose_images(result, 1)
    original = np.asarray(Image.open(folders[ORIGINAL] / f"{key}.png"))
    enlarged = original.repeat(4, axis=0).repeat(4, axis=1)  # 48 pixels as 192
    places = [
        (top, left)
        for top in range(40)
        for left in range(12)
        if np.array_equal(sheet[top : top + 192, left : left + 192], enlarged)
    ]
    assert len(places) == 1
    top, left = places[0]
    strip = sheet[top + 192 + 34 : top + 192 + 50, left + 2 * 198 : left + 2 * 198 + 192, 0]
    cells = [np.median(strip[:, round(i * 192 / 7) + 2 : round(i * 192 / 7) + 6]) for i in range(7)]
    assert cells == [240, 240, 240, 240, 240, 100, 40]  # policy: .7, then skip


def test_images_are_chosen_from_worst_to_best(folders):
    result = run(folders)
    chosen = choose_images(result, 4)
    last = result.images[result.images["folder"] == "RL"].set_index("id")["ssim"]
    assert len(chosen) == 4
    assert list(last[chosen]) == sorted(last[chosen])
    assert chosen[0] == last.idxmin()
    assert chosen[-1] == last.idxmax()
    (folders["FAST"] / f"{chosen[0]}.png").unlink()
    assert chosen[0] not in choose_images(run(folders), 100)


def test_without_costs_there_is_no_picture_of_compute_and_no_old_one(folders, tmp_path):
    write_report(run(folders), tmp_path / "out")
    picture = tmp_path / "out" / "quality_against_compute.png"
    assert picture.exists()
    for folder in folders.values():
        (folder / "meta_data.json").unlink()
    result = run(folders)
    assert draw_quality_against_compute(result, tmp_path / "none.png") is None
    write_report(result, tmp_path / "out")
    assert not picture.exists()


@pytest.mark.usefixtures("without_plots")
def test_without_a_complete_image_there_is_a_page_without_contact_sheet(folders, tmp_path):
    shutil.rmtree(folders["FAST"])
    write_folder(folders["FAST"], "schedule", count=1, spread=3)
    (folders["RL"] / "img_000.png").unlink()
    write_report(run(folders), tmp_path / "out")
    assert (tmp_path / "out" / "report.html").exists()
    assert not (tmp_path / "out" / "contact_sheet.png").exists()


@pytest.mark.usefixtures("without_plots")
def test_of_many_candidates_the_first_two_are_shown_side_by_side(folders, tmp_path):
    for index in range(2):
        folders[f"other {index}"] = write_folder(tmp_path / f"o{index}", "schedule", spread=2)
    result = run(folders)
    assert result.comparison.side_by_side == ("FAST", "RL")
    sheet = Image.open(draw_contact_sheet(result, tmp_path / "sheet.png", count=1))
    assert sheet.width < 4 * 198
    (folders["other 1"] / "img_000.png").unlink()  # not shown, so that it does not matter here
    assert "img_000" in choose_images(run(folders), 100)
    page = write_report(result, tmp_path / "out").read_text(encoding="utf-8")
    assert "other 1 - other 0, image by image" in page


def test_differences_are_amplified_and_the_worst_comes_first(folders, tmp_path):
    first, second = np.array([[[10, 0, 200]]], np.uint8), np.array([[[12, 0, 0]]], np.uint8)
    assert difference(first, second).tolist() == [[[8, 0, 255]]]
    result = run(folders)
    worst = quality_order(result, "FAST")[0]
    sheet = np.asarray(Image.open(draw_worst_and_best(result, tmp_path / "pairs.png", count=1)))
    pixels = [np.asarray(Image.open(folders[n] / f"{worst}.png")) for n in ("FAST", ORIGINAL)]
    enlarged = difference(*pixels).repeat(4, axis=0).repeat(4, axis=1)  # 48 pixels as 192
    left, top = 6 + 2 * 198, 2 * 16 + 6
    assert np.array_equal(sheet[top : top + 192, left : left + 192], enlarged)
