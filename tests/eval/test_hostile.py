"""Folders made to do harm: everything in them is data, and costs at most its own image."""

import json
import os
import shutil
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from commands.evaluate import main
from eval.comparison import plan_comparison
from eval.metrics.registry import MetricSettings, make_metrics
from eval.scoring import ScoringSettings, score_images
from tests.eval.folders_on_disk import write_folder

pytestmark = pytest.mark.usefixtures("without_plots")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, data, extra=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


BOMBS = {
    "huge": png(2**31 - 1, 2**31 - 1, b""),
    "large": png(30_000, 30_000, zlib.compress(bytes(1_000_000))),
    "text": png(
        4, 4, zlib.compress(bytes(20)), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))
    ),
    "endless": png(4, 4, zlib.compress(bytes(2**26))),
}


@pytest.fixture
def folders(tmp_path):
    original = write_folder(tmp_path / "original", fingerprint=None)
    return original, write_folder(tmp_path / "rl", "policy", fingerprint=None, spread=6)


def compare(folders, out, *more):
    code = main(["--orig", str(folders[0]), "--rl", str(folders[1]), "--out", str(out), *more])
    table = pd.read_csv(out / "per_image.csv", dtype=str, keep_default_na=False)
    return code, table[table["folder"] == "RL"].set_index("id")


def test_every_attack_at_once_costs_only_its_own_images(folders, tmp_path):
    clean = compare(folders, tmp_path / "clean", "--metrics", "psnr")[1]
    secret = tmp_path / "secret.png"
    Image.fromarray(np.full((48, 48, 3), 7, np.uint8)).save(secret)
    names = ["../../escape", "/etc/passwd", "nul\0name", "..", "C:\\x", "<b>", "\u202egnp"]
    for folder in folders:
        for name, content in BOMBS.items():
            (folder / f"bomb_{name}.png").write_bytes(content)
        file = (folder / "img_000.png").read_bytes()
        (folder / "truncated.png").write_bytes(file[: len(file) // 2])
        (folder / "link.png").symlink_to(secret)
        (folder / "loop.png").symlink_to(folder / "loop.png")
        (folder / "folder.png").mkdir()
        os.mkfifo(folder / "pipe.png")
        metadata = json.loads((folder / "meta_data.json").read_text())
        metadata |= {name: {"prompt": "evil", "category": name} for name in names}
        (folder / "meta_data.json").write_text(json.dumps(metadata))
    before = sorted(path.name for path in tmp_path.iterdir())
    code, found = compare(folders, tmp_path / "out", "--metrics", "psnr")
    assert code == 0
    assert sorted({*before, "out"}) == sorted(path.name for path in tmp_path.iterdir())
    pd.testing.assert_frame_equal(found.loc[clean.index], clean)
    others = found.drop(clean.index)["status"].to_dict()
    assert others == {  # and no link, folder or pipe
        "bomb_huge": "reference_unreadable",
        "bomb_large": "reference_unreadable",
        "bomb_text": "reference_unreadable",
        "bomb_endless": "ok",  # what comes after the last row is not inflated
        "truncated": "reference_unreadable",
    }
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "link.png is a link to outside of the folder" in report


def test_a_nested_folder_that_is_a_link_to_elsewhere_is_left_out(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("original", "rl"):
        inside = tmp_path / name / "gen_images_cat"
        inside.mkdir(parents=True)
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(inside / "1.png")
        shutil.copy(inside / "1.png", elsewhere)
        (tmp_path / name / "gen_images_dog").symlink_to(elsewhere)
    comparison = plan_comparison(tmp_path / "original", {"RL": tmp_path / "rl"})
    assert comparison.keys == ("cat",)
    assert sum("link to outside" in warning for warning in comparison.warnings) == 2


def test_large_images_are_few_at_a_time(tmp_path, monkeypatch):
    for name in ("original", "rl"):
        (tmp_path / name).mkdir()
        for index in range(4):
            side = 90 if index < 2 else 30
            values = np.full((side, side, 3), index, np.uint8)
            Image.fromarray(values).save(tmp_path / name / f"{index}.png")
    monkeypatch.setattr("eval.decoding._PIXELS_AT_ONCE", 19_000)  # one pair of 90x90, not two
    comparison = plan_comparison(tmp_path / "original", {"RL": tmp_path / "rl"})
    metrics, _ = make_metrics(["mse"], MetricSettings())
    groups = list(score_images(comparison, metrics, ScoringSettings(batch_size=4)))
    assert [[score.key for score in group] for group in groups] == [
        ["0", "0"],
        ["1", "1", "2", "2"],
        ["3", "3"],
    ]
