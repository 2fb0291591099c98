"""What the official files say of themselves: configurations from shapes, and which belong together.

Shapes tell depth, widths, bits and patchify. They do not tell the resolution that a checkpoint was
trained for, nor the two versions of the 32-bit VAE apart: for those the official file names count.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from base.errors import CheckpointError
from infinity_backend.architecture import InfinityConfig, VAEConfig

State = Mapping[str, Tensor]
_BLOCK = re.compile(r"(?:block_chunks\.(\d+)\.module|blocks)\.(\d+)\.")


@dataclass(frozen=True)
class Release:
    """A pair of official files.

    Attributes:
        transformer: how the name of the transformer's file or folder begins.
        vae: the name of the VAE's file, without its suffix.
        resolution: what the transformer was trained for.
        cfg, tau: guidance and temperature of the official examples.
    """

    transformer: str
    vae: str
    resolution: str
    cfg: float
    tau: float


RELEASES = (  # the first whose name fits counts
    Release("infinity_125m", "infinity_vae_d16", "0.06M", 3.0, 1.0),
    Release("infinity_2b", "infinity_vae_d32reg", "1M", 4.0, 0.5),
    Release("infinity_8b_512", "infinity_vae_d56_f8_14_patchify", "0.25M", 3.0, 1.0),
    Release("infinity_8b", "infinity_vae_d56_f8_14_patchify", "1M", 3.0, 1.0),
)
_VAE_OF = {  # bits that the transformer predicts: (VAE bits, patchify, the file to use)
    16: (16, False, "infinity_vae_d16.pth"),
    24: (24, False, "infinity_vae_d24.pth"),
    32: (32, False, "infinity_vae_d32reg.pth"),
    56: (14, True, "infinity_vae_d56_f8_14_patchify.pth"),
    64: (64, False, "infinity_vae_d64.pth"),
}


def find_release(path: str | Path) -> Release | None:
    """The official release that the name of a transformer's file or folder belongs to."""
    name = Path(path).name.lower().replace("-", "_")
    return next((entry for entry in RELEASES if name.startswith(entry.transformer)), None)


def transformer_config(state: State, bits_of_vae: int, path: str | Path) -> InfinityConfig:
    """The configuration that a transformer's state dict was made with.

    Args:
        state: names and tensors (their values are not looked at).
        bits_of_vae: bits per cell of the VAE; four times fewer than the transformer's is patchify.
        path: what an error message calls the file.

    Raises:
        CheckpointError: it is no Infinity transformer, or the VAE does not belong to it.
    """
    blocks = {match.groups() for match in map(_BLOCK.match, state) if match}
    needed = ("word_embed.weight", "text_norm.weight", "cfg_uncond")
    missing = [name for name in needed if name not in state]
    if not blocks or missing:
        raise CheckpointError(
            f"{path} is not an Infinity transformer: it has {len(blocks)} blocks and lacks "
            f"{missing}. Expected a file such as infinity_2b_reg.pth, or the folder of an 8B "
            "checkpoint; a VAE goes to --vae"
        )
    width, bits = state["word_embed.weight"].shape
    chunks = len({chunk for chunk, _ in blocks if chunk is not None}) or 1
    first = {
        name.removeprefix(prefix): tensor
        for prefix in ("block_chunks.0.module.0.", "blocks.0.")
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    swiglu = "ffn.fcg.weight" in first
    key = "ffn.fcg.weight" if swiglu else "ffn.fc1.weight"
    hidden = first[key].shape[0]
    return InfinityConfig(
        depth=len(blocks),
        embed_dim=width,
        num_heads=_heads(first, width, path),
        bits=bits,
        text_channels=state["text_norm.weight"].shape[0],
        text_maxlen=state["cfg_uncond"].shape[0],
        mlp_ratio=hidden * (1.5 if swiglu else 1.0) / width,
        block_chunks=chunks,
        shared_aln="shared_ada_lin.1.weight" in state,
        head_aln="head_nm.ada_lin.1.weight" in state,
        head_depth=2 if "head.2.weight" in state else 1,
        cos_attn="sa.scale_mul_1H11" in first,
        rms_norm="ca_norm.bias" not in first,
        nm0="norm0_ve.weight" in state,
        swiglu=swiglu,
        cross_attn_layer_scale=1.0 if "ca_gamma" in first else -1.0,
        apply_spatial_patchify=_patchify(bits, bits_of_vae, path),
    )


def vae_config(state: State, path: str | Path) -> VAEConfig:
    """The configuration that a VAE's state dict was made with.

    Raises:
        CheckpointError: it is no BSQ-VAE.
    """
    start, end = "encoder.conv_in.conv.weight", "encoder.conv_out.conv.weight"
    if start not in state or end not in state:
        raise CheckpointError(
            f"{path} is not an Infinity VAE: it lacks {start}. Expected a file such as "
            "infinity_vae_d32reg.pth; a transformer goes to --transformer"
        )
    base = state[start].shape[0]
    stem = round((state[start].shape[1] / 3) ** 0.5)
    levels = [
        state[f"encoder.down.{level}.block.0.conv2.conv.weight"].shape[0] // base
        for level in range(_count(state, r"encoder\.down\.(\d+)\."))
    ]
    halvings = _count(state, r"encoder\.down\.(\d+)\.downsample\.")
    return VAEConfig(
        codebook_dim=state[end].shape[0],
        base_ch=base,
        ch_mult=tuple(levels),
        num_res_blocks=_count(state, r"encoder\.down\.0\.block\.(\d+)\."),
        patch_size=stem * 2**halvings,
        stem_patch=stem,
    )


def check_names(transformer: str | Path, vae: str | Path) -> str | None:
    """Which VAE the names of two official files ask for, if it is another one.

    The 32-bit VAE exists in two versions of equal shapes, and the wrong one gives images that look
    only somewhat wrong. Returns a sentence that says what is expected, or None.
    """
    release, name = find_release(transformer), Path(vae).stem.lower()
    if release is None or not name.startswith("infinity_vae") or name == release.vae:
        return None
    return (
        f"{Path(transformer).name} belongs with {release.vae}.pth; received {Path(vae).name}, with "
        "which its images are wrong in a way that no check of shapes can see"
    )


def _patchify(bits: int, bits_of_vae: int, path: str | Path) -> bool:
    if bits in (bits_of_vae, 4 * bits_of_vae):
        return bits != bits_of_vae
    needed = _VAE_OF.get(bits)
    expected = f"a VAE of {bits} bits, or of {bits / 4:g} with patchify"
    if needed is not None:
        expected = f"{needed[2]}, a VAE of {needed[0]} bits{' with patchify' * needed[1]}"
    raise CheckpointError(
        f"{path} predicts {bits} bits a token, the VAE has {bits_of_vae} a cell: they do not "
        f"belong together. Expected {expected}"
    )


def _heads(block: State, width: int, path: str | Path) -> int:
    if "sa.scale_mul_1H11" in block:
        return block["sa.scale_mul_1H11"].shape[1]
    if width % 128 == 0:  # without cosine attention no shape tells; official heads are 128 wide
        return width // 128
    raise CheckpointError(f"{path}: its shapes do not tell how many heads it has (width {width})")


def _count(state: State, pattern: str) -> int:
    return len({match[1] for match in map(re.compile(pattern).match, state) if match})
