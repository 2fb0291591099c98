"""`prunegym evaluate`: compare folders of images, with the small CLIP that is shipped."""

from importlib.resources import files
from pathlib import Path

from eval.evaluate_agent import main as evaluate_agent


def main(args: list[str] | None = None) -> int:
    """Run `eval.evaluate_agent`, which knows no model, with the folder of the scenes CLIP."""
    clip = Path(str(files("infinity_backend"))) / "pretrained" / "scenes" / "clip"
    return evaluate_agent(args, shipped_clip=clip if clip.is_dir() else None)
