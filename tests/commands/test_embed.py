"""`prunegym embed` on recorded keypoints: the recorded arrays come out, and failures are told."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from prunegym import main

DATA = Path(__file__).parents[1] / "data/sign"
CHECKPOINT = DATA / "pf_tiny_lightning.ckpt"
EXPECTED = load_file(DATA / "pf_tiny_lightning_outputs.safetensors")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name, points in load_file(DATA / "e2e_keypoints.safetensors").items():
        path = (tmp_path / "clips" / name).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, points)
    return tmp_path / "clips"


def embed(clips: Path, *options: str) -> int:
    words = ["embed", str(CHECKPOINT), str(clips), str(clips.parent / "out")]
    return main([*words, "--video_file_extension", "npy", *options])


@pytest.mark.parametrize("kind", ["spatial", "temporal", "CLS", "probabilities"])
@pytest.mark.parametrize("batch", ["b1", "b64"])
def test_recorded_arrays(clips, kind, batch, capsys):
    padded = ["--parity"] if batch == "b64" else []
    assert embed(clips, "--embedding_kind", kind, "--batch_size", batch[1:], *padded) == 0
    for name in ("alpha", "gamma", "delta"):
        made = np.load(clips.parent / f"out/{name}.npy")
        expected = EXPECTED[f"{batch}/{kind}/{name}.npy"]
        assert made.shape == expected.shape and np.abs(made - expected).max() < 2e-5
    assert "3 of 3 videos" in capsys.readouterr().out


def test_batch_size_changes_nothing_by_default(clips):
    embed(clips, "--embedding_kind", "temporal", "--batch_size", "64")
    made = np.load(clips.parent / "out/gamma.npy")
    assert np.abs(made - EXPECTED["b1/temporal/gamma.npy"]).max() < 2e-5
    assert np.abs(made - EXPECTED["b64/temporal/gamma.npy"]).max() > 1e-3


def test_a_failure_is_named_and_the_rest_is_made(clips, capsys):
    (clips / "broken.npy").write_bytes(b"no array")
    np.save(clips / "nobody.npy", np.full((4, 75, 3), np.nan))
    assert embed(clips, "--embedding_kind", "CLS") == 3
    told = capsys.readouterr().out
    assert "3 of 5 videos" in told and "2 failed" in told
    assert "nobody: no person found in any of 4 frames" in told and "broken:" in told
    (clips / "broken.npy").unlink()
    (clips / "nobody.npy").unlink()
    assert embed(clips, "--embedding_kind", "CLS") == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--embedding_kind", "CLS", "--language_id", "1"), 2, "knows 0 to 0"),
        (("--embedding_kind", "CLS", "--aspect_ratio", "wide"), 2, "as a number"),
        (("--embedding_kind", "CLS", "--aspect_ratio", "video"), 2, "pass --aspect_ratio"),
        (("--embedding_kind", "CLS", "--batch_size", "0"), 2, "from 1"),
        (("--embedding_kind", "CLS", "--video_file_extension", "mov"), 3, r"no *.mov"),
    ],
)
def test_what_cannot_be_done(clips, capsys, options, code, message):
    assert embed(clips, *options) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--embedding_kind", "everything")])
def test_the_kind_must_be_one_that_exists(clips, options):
    with pytest.raises(SystemExit) as stop:
        embed(clips, *options)
    assert stop.value.code == 2
