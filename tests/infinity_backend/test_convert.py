"""Official files to a pipeline folder, and the pairs that are refused."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import T5Config

from base.errors import CheckpointError, ConfigError
from commands import convert as command
from infinity_backend import convert as module
from infinity_backend import memory
from infinity_backend.architecture import VAEConfig
from infinity_backend.convert import OfficialFiles, convert, load_official
from infinity_backend.pipeline import InfinityPipeline
from tests.infinity_backend.tiny import PROMPTS, tiny_pipeline

NAMES = ("infinity_2b_reg.pth", "infinity_vae_d32reg.pth", "flan-t5-tiny")


def write_official(folder: Path, **changes: Any) -> OfficialFiles:
    """A tiny model in the form of the official files, under their names."""
    vae = changes.pop("vae", VAEConfig(32, base_ch=32, ch_mult=(1, 1, 1, 1, 1)))
    infinity = {"bits": 32, "block_chunks": 2} | changes
    pipeline = tiny_pipeline(infinity=infinity, vae=vae)
    files = OfficialFiles(*(folder / name for name in NAMES))
    extra = {"lvl_1L": torch.zeros(1, 3), "attn_bias_for_masking": torch.zeros(1)}
    torch.save(pipeline.stepper.model.state_dict() | extra, files.transformer)
    torch.save({"vae": pipeline.stepper.vae.state_dict(), "step": 7}, files.vae)
    pipeline.text_encoder.model.save_pretrained(files.text_encoder)
    pipeline.text_encoder.tokenizer.save_pretrained(files.text_encoder)
    return files


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> OfficialFiles:
    return write_official(tmp_path_factory.mktemp("official"))


def replaced(files: OfficialFiles, folder: Path, **names: str) -> OfficialFiles:
    """The same files, linked under other names."""
    parts = {}
    for part in ("transformer", "vae", "text_encoder"):
        path: Path = getattr(files, part)
        parts[part] = folder / names.get(part, path.name)
        parts[part].symlink_to(path)
    return OfficialFiles(**parts)


def test_converted_and_official_files_draw_the_same(
    official: OfficialFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pipeline"
    arguments = ["--transformer", official.transformer, "--vae", official.vae]
    arguments += ["--text-encoder", official.text_encoder, "--out", out]
    arguments += ["--resolution", "0.06M", "--force"]
    assert command.main([str(argument) for argument in arguments]) == 0
    assert "7 scales, 256x256 pixels" in capsys.readouterr().out
    pipeline = InfinityPipeline.from_pretrained(out)
    assert pipeline.config.schedule[-1] == (16, 16) and pipeline.config.rope_grid == (64, 64)
    assert (pipeline.config.sampling.cfg, pipeline.config.sampling.tau) == (4.0, 0.5)
    direct = load_official(official, "0.06M", force=True)
    other = InfinityPipeline(direct.stepper, direct.text_encoder, direct.weights_hash)
    one, two = (p(PROMPTS[:1], [3]).images for p in (pipeline, other))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(ConfigError, match="holds a pipeline already"):
        convert(official, out)


def test_a_folder_of_official_files_is_a_pipeline(official: OfficialFiles) -> None:
    pipeline = InfinityPipeline.from_pretrained(official.transformer.parent)
    assert len(pipeline.config.schedule) == 13  # 1M, from the name
    wide = InfinityPipeline.from_pretrained(official.transformer.parent, aspect_ratio=0.5)
    height, width = wide.config.schedule[-1]
    assert width == 2 * height and len(wide.config.schedule) == 13
    assert wide.fingerprint != pipeline.fingerprint


def test_blocks_can_be_stored_narrow(official: OfficialFiles, tmp_path: Path) -> None:
    convert(official, tmp_path, torch.bfloat16)
    pipeline = InfinityPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    block = pipeline.stepper.model.block_list()[0]
    assert block.sa.proj.weight.dtype == torch.bfloat16
    assert block.ca_norm.weight.dtype == pipeline.stepper.model.head.weight.dtype == torch.float32


def test_a_changed_byte_in_a_pipeline_folder(official: OfficialFiles, tmp_path: Path) -> None:
    convert(official, tmp_path)
    path = tmp_path / "vae.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"vae\.safetensors is damaged"):
        InfinityPipeline.from_pretrained(tmp_path)


def test_the_wrong_32_bit_vae_is_refused(
    official: OfficialFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = replaced(official, tmp_path, vae="infinity_vae_d32.pth")
    with pytest.raises(CheckpointError, match=r"belongs with infinity_vae_d32reg\.pth; received"):
        load_official(files)
    with caplog.at_level(logging.WARNING):
        load_official(files, force=True)
    assert "because of --force" in caplog.text


def test_a_renamed_transformer_gets_a_warning_and_must_say_its_resolution(
    official: OfficialFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = replaced(official, tmp_path, transformer="mine.pth")
    with pytest.raises(ConfigError, match=r"give --resolution 0\.06M"):
        load_official(files)
    with caplog.at_level(logging.WARNING):
        assert len(load_official(files, "0.25M").config.schedule) == 10
    assert "two 32-bit VAEs of equal shapes" in caplog.text


def test_another_resolution_is_refused(official: OfficialFiles) -> None:
    with pytest.raises(CheckpointError, match=r"was trained for 1M pixels; received 0\.25M"):
        load_official(official, "0.25M")


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(56, "infinity_vae_d56_f8_14_patchify.pth, a VAE of 14 bits with patchify"), (16, "d16.pth")],
)
def test_bits_and_patchify_must_agree(tmp_path: Path, bits: int, expected: str) -> None:
    vae = VAEConfig(bits, base_ch=32, ch_mult=(1, 1), patch_size=2)
    files = write_official(tmp_path, bits=bits, vae=vae)
    other = VAEConfig(32, base_ch=32, ch_mult=(1, 1), patch_size=2)
    torch.save(
        {"vae": tiny_pipeline(infinity={"bits": 32}, vae=other).stepper.vae.state_dict()}, files.vae
    )
    with pytest.raises(CheckpointError, match=f"predicts {bits} bits a token.*{expected}"):
        load_official(files)


def test_patchify_follows_from_the_two_files(tmp_path: Path) -> None:
    vae = VAEConfig(8, base_ch=32, ch_mult=(1, 1), patch_size=2)
    files = write_official(tmp_path, apply_spatial_patchify=True, vae=vae)
    config = load_official(files, force=True).config
    assert config.infinity.apply_spatial_patchify and config.vae.codebook_dim == 8


def test_parts_in_each_others_place(official: OfficialFiles) -> None:
    swapped = OfficialFiles(official.vae, official.transformer, official.text_encoder)
    with pytest.raises(CheckpointError, match="is not an Infinity VAE"):
        load_official(swapped)
    twice = OfficialFiles(official.vae, official.vae, official.text_encoder)
    with pytest.raises(CheckpointError, match=r"not a flat state dict|not an Infinity transformer"):
        load_official(twice)


def test_a_text_encoder_of_another_width(official: OfficialFiles, tmp_path: Path) -> None:
    T5Config(d_model=64).save_pretrained(tmp_path)
    files = OfficialFiles(official.transformer, official.vae, tmp_path)
    with pytest.raises(CheckpointError, match=r"gives 64 channels; infinity_2b_reg\.pth was made"):
        load_official(files)
    empty = OfficialFiles(official.transformer, official.vae, tmp_path / "none")
    with pytest.raises(CheckpointError, match="holds no text encoder"):
        load_official(empty)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", LFS_POINTER, r"model\.safetensors .* is a Git-LFS pointer"),
        ("tokenizer.json", b"<!DOCTYPE html>", r"tokenizer\.json .* is a web page"),
        ("config.json", LFS_POINTER, r"config\.json .* is a Git-LFS pointer"),
        ("config.json", b'{"d_model": 128}', "is not that of a T5 encoder.*d_ff"),
        ("tokenizer.json", None, "holds no tokenizer"),
        ("model.safetensors", None, "cannot be read.*copy the folder again"),
    ],
)
def test_a_text_encoder_that_is_not_whole(
    official: OfficialFiles, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(official.text_encoder, folder)
    (folder / "README.md").write_text("<p>about</p>")  # what is not read is not looked at
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_official(OfficialFiles(official.transformer, official.vae, folder))


def test_a_flipped_bit_in_the_text_encoder(official: OfficialFiles, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(official.text_encoder, folder)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-4:] = np.float32("nan").tobytes()
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"encoder is damaged: .*not finite"):
        load_official(OfficialFiles(official.transformer, official.vae, folder))


def test_memory_is_told_before_any_weight_is_read(
    official: OfficialFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "WORTH_A_LINE", 0.0)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10)

    def stop(*_: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr(module, "check_finite", stop)
    with caplog.at_level(logging.INFO), pytest.raises(InterruptedError):
        load_official(official)
    assert "infinity_2b_reg.pth needs 0.0 GB of weights" in caplog.text
    assert "for the text encoder" in caplog.text and "0.0 GB are free" in caplog.text


def test_a_checkpoint_with_other_text_rows_and_flat_blocks(tmp_path: Path) -> None:
    files = write_official(tmp_path, block_chunks=1, text_maxlen=7)
    config = load_official(files).config.infinity
    assert (config.block_chunks, config.text_maxlen) == (1, 7)
