"""A built wheel works from another folder: weights and configurations are found."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
USE = """
import gymnasium, prunegym, infinity_backend
assert infinity_backend.__file__.startswith({folder!r}), infinity_backend.__file__
env = gymnasium.make("prunegym/InfinityPruning-v0", prompts="scenes:test:2")
env.reset(seed=0)
done = False
while not done:
    _, reward, done, _, info = env.step(1)
print(info["ssim"])
from commands.demo import DEMOS
assert DEMOS["infinity"].config.is_file()
"""


def test_a_wheel_brings_all_that_it_needs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"  # building leaves files beside the sources
    left_out = shutil.ignore_patterns(".*", "tests", "runs", "benchmarks", "*.egg-info", "build")
    shutil.copytree(ROOT, source, ignore=left_out)
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("prunegym-*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    names = [path.name for path in installed.iterdir()]
    assert "tests" not in names and "benchmarks" not in names
    environment = os.environ | {
        "PYTHONPATH": str(installed),
        "PRUNEGYM_CACHE": str(tmp_path / "cache"),
    }
    code = USE.format(folder=str(installed))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) <= 1
