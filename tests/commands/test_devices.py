"""A device that this machine does not have is refused in a sentence, before anything is loaded."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from base.errors import ConfigError
from commands import calibrate, generate
from commands.wiring import choose_device
from eval.options import device_of

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@without_cuda
def test_cuda_is_refused_where_there_is_none(tmp_path: Path) -> None:
    assert choose_device("auto") == "cpu" and device_of(Namespace(device="auto")) == "cpu"
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ConfigError, match="cannot be used"):
            choose_device(name)
        with pytest.raises(ConfigError, match="no usable CUDA device"):
            device_of(Namespace(device=name))
    with pytest.raises(ConfigError, match="device 'cuda' cannot be used"):
        calibrate.main(["--device", "cuda", "--out", str(tmp_path / "table.json")])
    out = tmp_path / "images"
    options = ["--controller", "none", "--prompt", "a red circle", "--out", str(out)]
    with pytest.raises(ConfigError, match="device 'cuda' cannot be used"):
        generate.main([*options, "--device", "cuda"])
    assert not list(tmp_path.iterdir())


def test_a_device_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected auto, cpu"):
        choose_device("toaster")
