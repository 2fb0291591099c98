import json

import pytest

from base.errors import DataError
from commands.evaluate import main
from eval.comparison import plan_comparison
from eval.timings import read_timings
from tests.eval.folders_on_disk import write_folder, write_three

pytestmark = pytest.mark.usefixtures("without_plots")


def folder(path, metadata=None):
    write_folder(path, count=3, fingerprint=None, spread=2)
    (path / "meta_data.json").unlink()
    if metadata:
        (path / "meta_data.json").write_text(json.dumps(metadata))
    return path


def latencies(tmp_path, timings="auto"):
    original = write_folder(tmp_path / "a", count=3)
    comparison = plan_comparison(original, {"RL": tmp_path / "b"}, timings=timings)
    found = {key: cost.latency_ms for key, cost in comparison.compute["RL"].items()}
    return found, [text for text in comparison.warnings if "times of" in text]


def test_a_table_goes_before_the_metadata(tmp_path):
    folder(tmp_path / "b", {"img_000": {"latency_ms": 5}, "img_001": {"latency_ms": 6}})
    table = tmp_path / "t.csv"
    table.write_text("folder,id,latency_ms,note\nRL,img_001,70.5,x\nRL,img_002,8,\nRL,other,1,\n")
    found, warnings = latencies(tmp_path, table)
    assert found == {"img_000": 5, "img_001": 70.5, "img_002": 8}
    assert warnings == [f"{table} has times of 1 images that no folder has"]
    (tmp_path / "t.json").write_text('{"RL": {"img_000": 1.5}}')
    assert latencies(tmp_path, tmp_path / "t.json")[0]["img_000"] == 1.5


def test_logs_are_found_where_the_metadata_say_nothing(tmp_path):
    folder(tmp_path / "b", {"img_000": {"latency_ms": 5}})
    (tmp_path / "b" / "runtime.txt").write_text(
        "img_000: 0.9\nimg_001: 0.25\nimg_001: 0.5\nnonsense\nimg_002: fast\naverage: 0.4\n"
    )
    assert latencies(tmp_path)[0] == {"img_000": 5, "img_001": 500}


def test_numbers_with_leading_zeros_are_the_numbers_of_files(tmp_path):
    path = folder(tmp_path / "b")
    (path / "img_001.png").rename(path / "7.png")
    (path / "consume_time.txt").write_text("0007: 1.5\n0008: 2\n")
    assert latencies(tmp_path)[0] == {"7": 1500}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n", "expected"),
        ("t.csv", "folder,id,latency_ms\nRL,a,-3\n", "expected ms"),
        ("t.csv", "folder,id,latency_ms\nRL,a\n", "expected ms"),
        ("t.json", "[1]", "something else"),
        ("t.json", '{"RL": {"a": null}}', "expected ms"),
        ("missing.csv", None, "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_timings(tmp_path / name)


def test_the_option_reaches_the_summary(tmp_path):
    (tmp_path / "t.csv").write_text("folder,id,latency_ms\nFAST,img_000,1000\n")
    arguments = [*write_three(tmp_path, count=2), "--out", str(tmp_path / "out")]
    arguments += ["--metrics", "psnr", "--timings", str(tmp_path / "t.csv")]
    assert main(arguments) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["folders"]["FAST"]["figures"]["latency_ms"]["mean"] > 500
