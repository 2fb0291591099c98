import json
import shutil
import subprocess
import sys

import pytest

from commands.evaluate import main
from eval.evaluate_agent import main as evaluate_agent
from tests.eval.folders_on_disk import write_folder, write_three

QUICK = ["--metrics", "ssim,psnr"]


def test_three_folders_give_a_table_and_files(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [*write_three(tmp_path), "--out", str(out), "--legacy-outputs", *QUICK]
    assert main(arguments) == 0
    assert {path.name for path in out.iterdir()} == {
        "summary.json",
        "summary.csv",
        "per_image.csv",
        "per_image_wide.csv",
        "skipped.csv",
        "environment.json",
        "evaluation_results.csv",
        "report.html",
        "quality_against_compute.png",
        "contact_sheet.png",
        "categories.png",
        "decisions.png",
        "worst_and_best.png",
    }
    shown = capsys.readouterr().out
    mean = json.loads((out / "summary.json").read_text())["folders"]["RL"]["figures"]["ssim"]
    assert f"{mean['mean']:.4f}" in shown
    assert "compute saved" in shown


@pytest.mark.usefixtures("without_plots")
def test_any_number_of_candidates_have_names(tmp_path):
    arguments = write_three(tmp_path)
    other = write_folder(tmp_path / "other", "schedule", spread=3)
    arguments += ["--candidate", f"my run={other}", "--out", str(tmp_path / "out"), *QUICK]
    assert main(arguments) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["folders"]) == ["Original", "FAST", "RL", "my run"]
    pairs = {(entry["candidate"], entry["baseline"]) for entry in summary["differences"]}
    assert pairs == {("RL", "FAST"), ("my run", "FAST"), ("my run", "RL")}


@pytest.mark.usefixtures("without_plots")
def test_options_can_come_from_a_file(tmp_path):
    flags = write_three(tmp_path)
    options = {flags[i].removeprefix("--"): flags[i + 1] for i in range(0, len(flags), 2)}
    options |= {"metrics": "ssim", "out": str(tmp_path / "out"), "bootstrap": 0}
    options["candidate"] = [f"other={write_folder(tmp_path / 'other', spread=3)}"]
    (tmp_path / "options.yaml").write_text(json.dumps(options))
    assert main(["--config", str(tmp_path / "options.yaml")]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["folders"]["other"]["figures"]["ssim"]["ci95"] is None


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--fast", "{tmp}/missing"], 2, "missing is not a folder"),
        (["--candidate", "no-equals-sign"], 2, "expected NAME=DIR"),
        (["--candidate", "RL={tmp}/rl"], 2, "two candidates have the same name"),
        (["--metrics", "ssim,beauty"], 2, "expected some of"),
        (["--device", "toaster"], 2, "expected auto, cpu or cuda"),
        (["--bootstrap", "-1"], 2, "bootstrap is -1"),
        (["--out", "{tmp}/fast"], 2, "a folder of images; choose another"),
        (["--out", "{tmp}/fast/img_000.png/out"], 2, "no folder can be made"),
        (["--rl", "{tmp}/original"], 4, "same folder as Original"),
        (["--rl", "{tmp}/fast"], 4, "RL is the same folder as FAST"),
        (["--rl", "{tmp}/elsewhere"], 4, "another fingerprint"),
        (["--rl", "{tmp}/empty", "--fast", "{tmp}/empty_too"], 3, "no image of a candidate"),
        (["--on-bad-image", "error", "--fast", "{tmp}/broken"], 3, "no image format"),
    ],
)
def test_each_trouble_has_its_exit_code_and_no_results(tmp_path, capsys, change, code, message):
    arguments = [*write_three(tmp_path), "--out", str(tmp_path / "out"), *QUICK]
    write_folder(tmp_path / "elsewhere", fingerprint="other", spread=4)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty_too").mkdir()
    broken = write_folder(tmp_path / "broken", spread=4)
    (broken / "img_003.png").write_bytes(b"x")
    change = [text.replace("{tmp}", str(tmp_path)) for text in change]
    assert main([*arguments, *change]) == code
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.glob("out/*")} <= {"unfinished.jsonl"}
    assert not (tmp_path / "fast" / "summary.json").exists()


@pytest.mark.parametrize("wrong", [["--ssim", "box"], ["--batch-size", "many"], ["--nonsense"]])
def test_wrong_usage_ends_with_2(tmp_path, wrong):
    with pytest.raises(SystemExit) as error:
        main(["--orig", str(tmp_path), "--fast", str(tmp_path), *wrong])
    assert error.value.code == 2


def test_nothing_to_compare_with_is_wrong_usage(tmp_path, capsys):
    assert main(["--orig", str(tmp_path)]) == 2
    assert "give --fast, --rl or --candidate" in capsys.readouterr().err


@pytest.mark.usefixtures("without_plots")
def test_strict_asks_for_every_figure_of_every_image(tmp_path, capsys):
    arguments = [*write_three(tmp_path), "--out", str(tmp_path / "out"), "--strict", *QUICK]
    assert main(arguments) == 0
    (tmp_path / "rl" / "img_002.png").write_bytes(b"x")
    assert main(arguments) == 4
    assert "--strict" in capsys.readouterr().err
    assert (tmp_path / "out" / "summary.json").exists()


def copied(folder, source, saved=None, ratio=None):
    """The images of another folder under this one's metadata, which then say something else."""
    records = json.loads((folder / "meta_data.json").read_text())
    for key, record in records.items():
        shutil.copy(source / f"{key}.png", folder)
        if saved is not None:
            record["cost_flops"] = (1 - saved) * record["full_cost_flops"]
        if ratio is not None:
            record["decisions"] = [{"stage": "1x1", "prune_ratio": ratio}]
    (folder / "meta_data.json").write_text(json.dumps(records))


@pytest.mark.usefixtures("without_plots")
@pytest.mark.parametrize(
    ("source", "saved", "ratio", "message"),
    [
        ("original", None, None, "images of RL equal those of Original"),
        ("original", 0.0, None, None),  # nothing was pruned: of course they are equal
        ("fast", None, None, "files of RL are byte for byte those of FAST"),
        ("fast", None, 0.5, "byte for byte"),
    ],
)
def test_equal_folders_are_refused_unless_decisions_explain_it(
    tmp_path, capsys, source, saved, ratio, message
):
    arguments = [*write_three(tmp_path, count=2), "--out", str(tmp_path / "out"), *QUICK]
    copied(tmp_path / "rl", tmp_path / source, saved, ratio)
    assert main(arguments) == (4 if message else 0)
    assert (message or "") in capsys.readouterr().err
    assert (tmp_path / "out" / "summary.json").exists()
    assert main([*arguments, "--allow-mismatch"]) == 0


@pytest.mark.usefixtures("without_plots")
def test_an_agent_that_decides_as_the_schedule_may_have_its_files(tmp_path):
    arguments = [*write_three(tmp_path, count=2), "--out", str(tmp_path / "out"), *QUICK]
    copied(tmp_path / "rl", tmp_path / "fast", ratio=0.5)
    shutil.copy(tmp_path / "rl" / "meta_data.json", tmp_path / "fast")
    assert main(arguments) == 0


@pytest.mark.usefixtures("without_plots")
def test_mismatch_can_be_allowed_and_is_shown(tmp_path, capsys):
    arguments = write_three(tmp_path)
    other = write_folder(tmp_path / "elsewhere", fingerprint="other", spread=4)
    arguments += ["--rl", str(other), "--allow-mismatch", "--out", str(tmp_path / "out"), *QUICK]
    assert main(arguments) == 0
    assert "NOT COMPARABLE" in capsys.readouterr().out
    assert "NOT COMPARABLE" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("without_plots")
def test_without_the_shipped_clip_the_score_is_not_computed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("eval.metrics.registry.official_folder", lambda: None)
    arguments = [*write_three(tmp_path), "--out", str(tmp_path / "out"), "--metrics", "psnr,clip"]
    assert evaluate_agent(arguments) == 0
    assert "clip: not computed: no CLIP weights" in capsys.readouterr().out


def test_the_module_runs_as_a_program(tmp_path):
    command = [sys.executable, "-m", "eval.evaluate_agent", *write_three(tmp_path, count=2)]
    command += ["--out", str(tmp_path / "out"), *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
