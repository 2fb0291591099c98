"""Metrics of third parties: entry points, and processes that speak JSON lines."""

import io
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from base.errors import ConfigError
from commands.evaluate import main
from eval.metrics import reward_worker
from eval.metrics.process import ProcessMetric
from eval.metrics.protocol import MetricUnavailableError
from eval.metrics.registry import MetricSettings, make_metrics
from tests.eval.folders_on_disk import write_three

pytestmark = pytest.mark.usefixtures("without_plots")

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(class Brightness.*?)```", PAGE, re.DOTALL)
IMAGES = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 4, 4, 3)


def install(folder, monkeypatch, points, code=""):
    """Make an installed package of one module with these entry points."""
    info = folder / "plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[prunegym.metrics]", *lines]))
    module = next(iter(points.values())).split(":")[0]
    (folder / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)


def test_the_example_of_the_page_is_a_metric_in_twenty_lines(tmp_path, monkeypatch):
    assert len(EXAMPLE.splitlines()) <= 20
    points = {"brightness": "brightness_metric:Brightness"}
    install(tmp_path / "site", monkeypatch, points, EXAMPLE)
    arguments = [*write_three(tmp_path, count=3), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--metrics", "psnr,brightness"]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    for folder in summary["folders"].values():
        assert folder["figures"]["brightness"]["n"] == 3
        assert 100 < folder["figures"]["brightness"]["mean"] < 155
    assert summary["definitions"]["brightness"]["provenance"].startswith("mean of all values")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_like_this", "No module named 'nothing_like_this'"),
        ("def make(settings): raise RuntimeError('no weights')", "no weights"),
        ("def make(settings): return 3", "gives no metric: it lacks"),
        (EXAMPLE.replace('"brightness"', '"a=b; c"') + "make = Brightness", "called 'a=b; c'"),
        (EXAMPLE.replace('"brightness"', '"status"') + "make = Brightness", "another column"),
    ],
)
def test_a_broken_plugin_costs_only_itself(tmp_path, monkeypatch, code, reason):
    install(tmp_path, monkeypatch, {"odd": "odd_metric:make"}, code)
    metrics, not_computed = make_metrics(["mse", "odd"], MetricSettings())
    assert [metric.name for metric in metrics] == ["mse"]
    assert reason in not_computed["odd"]


def test_two_metrics_of_one_name_are_an_error(tmp_path, monkeypatch):
    code = EXAMPLE.replace('"brightness"', '"mse"') + "make = Brightness"
    install(tmp_path, monkeypatch, {"mine": "mine_metric:make"}, code)
    with pytest.raises(ConfigError, match=r"call themselves \['mse'\]"):
        make_metrics(["mse", "mine"], MetricSettings())


WORKER = """
import json, os, sys
print(json.dumps({"name": "mean", "higher_is_better": True, "needs_reference": True,
    "needs_prompt": True, "minimum_side": 1, "provenance": "a test"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "die" in request["prompts"]:
        os._exit(3)
    if "hang" in request["prompts"]:
        import time; time.sleep(60)
    if "fail" in request["prompts"]:
        print(json.dumps({"error": "cannot"}), flush=True)
        continue
    from PIL import Image
    pairs = zip(request["images"], request["references"])
    values = [sum(Image.open(a).getpixel((0, 0))) - sum(Image.open(b).getpixel((0, 0)))
              for a, b in pairs]
    print(json.dumps({"values": [None if p == "none" else v
        for p, v in zip(request["prompts"], values)]}), flush=True)
"""


@pytest.fixture
def worker(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    metric = ProcessMetric([sys.executable, str(tmp_path / "worker.py")], timeout_s=20)
    yield metric
    metric.close()


def test_another_process_sees_the_pixels_and_answers(worker):
    assert (worker.name, worker.needs_reference, worker.provenance) == ("mean", True, "a test")
    references = torch.zeros_like(IMAGES)
    assert worker(IMAGES, references, ["a", "b"]).tolist() == [3.0, 48 + 49 + 50]
    values = worker(IMAGES, references, ["none", "b"])
    assert values[0].isnan()
    assert values[1] == 147


def test_a_process_that_fails_or_dies_costs_a_batch_and_is_started_again(worker):
    references = torch.zeros_like(IMAGES)
    with pytest.raises(RuntimeError, match="mean: cannot"):
        worker(IMAGES, references, ["fail", "b"])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the process ended with 3"):
            worker(IMAGES, references, ["die", "b"])
    assert worker(IMAGES, references, ["a", "b"])[0] == 3
    worker._timeout_s = 0.3
    with pytest.raises(RuntimeError, match="the process ended with -9"):
        worker(IMAGES, references, ["hang", "b"])
    with pytest.raises(RuntimeError, match="died 3 times"):
        worker(IMAGES, references, ["a", "b"])


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/no/such/python"], "No such file"),
        ([sys.executable, "-c", "raise SystemExit(7)"], "ended with 7"),
        ([sys.executable, "-c", "print('hello')"], "introduced itself"),
        ([sys.executable, "-c", 'print(\'{"unavailable": "no key"}\')'], "no key"),
    ],
)
def test_a_process_that_cannot_is_not_run_here(command, reason):
    with pytest.raises(MetricUnavailableError, match="not run here: ") as error:
        ProcessMetric(command)
    assert reason in str(error.value)


FAKE_PACKAGES = {
    "image_reward": ("ImageReward", {"load": lambda name, device: FakeReward()}, [6.0, 7.0]),
    "hpsv2": ("hpsv2", {"score": lambda image, prompt, hps_version: [len(prompt)]}, [1.0, 2.0]),
    "hpsv3": ("hpsv3", {"HPSv3RewardInferencer": lambda device: FakeReward()}, [10.0, 20.0]),
    "viescore": ("viescore", {"VIEScore": lambda backbone, task: FakeReward()}, [8.0, 8.0]),
}


class FakeReward:
    """The calls of the four packages, as their pages describe them."""

    def score(self, prompt, image):
        assert isinstance(prompt, str)
        return 5 + len(prompt)

    def reward(self, *, image_paths, prompts):
        return [torch.tensor([10.0 * len(prompt), 0.1]) for prompt in prompts]

    def evaluate(self, image, prompt):
        assert image.size == (4, 4)
        return [9, 7, 8.0]


@pytest.mark.parametrize("name", FAKE_PACKAGES)
def test_rewards_are_called_as_their_packages_expect(name, tmp_path, monkeypatch):
    package, members, expected = FAKE_PACKAGES[name]
    monkeypatch.setitem(sys.modules, package, types.SimpleNamespace(**members))
    monkeypatch.setenv("GEMINI_API_KEY", "not a key")
    from PIL import Image

    paths = [str(tmp_path / f"{index}.png") for index in range(2)]
    for path, image in zip(paths, IMAGES.numpy(), strict=True):
        Image.fromarray(image).save(path)
    request = json.dumps({"images": paths, "references": None, "prompts": ["p", "pp"]})
    answers = io.StringIO()
    reward_worker.main(name, "cpu", io.StringIO(f"{request}\n"), answers)
    hello, answer = (json.loads(line) for line in answers.getvalue().splitlines())
    assert (hello["name"], hello["needs_prompt"], hello["needs_reference"]) == (name, True, False)
    assert answer == {"values": expected}


def test_rewards_whose_package_is_missing_are_not_run_here(monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    metrics, not_computed = make_metrics(["viescore", "mse"], MetricSettings())
    assert [metric.name for metric in metrics] == ["mse"]
    assert "not run here: " in not_computed["viescore"]
    assert "GEMINI_API_KEY is not set" in not_computed["viescore"]


def test_a_reward_runs_in_the_python_that_was_given(tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\necho \'{"unavailable": "it was asked"}\'\n')
    (tmp_path / "python").chmod(0o755)
    settings = MetricSettings(pythons={"hpsv3": str(tmp_path / "python")})
    assert make_metrics(["hpsv3"], settings)[1] == {"hpsv3": "not run here: it was asked"}
    with pytest.raises(ConfigError, match="a Python is given for"):
        make_metrics(["mse"], MetricSettings(pythons={"ssim": "python"}))


def test_the_worker_needs_nothing_of_this_project(tmp_path):
    script = Path(reward_worker.__file__)
    code = (
        "import runpy, sys; sys.argv = ['worker', 'hpsv3', 'cpu']; "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", code]  # without any installed package
    done = subprocess.run(command, cwd=tmp_path, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "No module named 'hpsv3'" in json.loads(done.stdout)["unavailable"]
