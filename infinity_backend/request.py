"""What one image is about."""

import hashlib
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ImageRequest:
    """A prompt and the seed of all of its noise.

    Attributes:
        prompt: what to draw.
        seed: of the noise.
        negative_prompt: what the guidance branch is about, instead of the learned unconditional
            text.
    """

    prompt: str
    seed: int = 0
    negative_prompt: str | None = None

    @property
    def key(self) -> str:
        """A name for caches: hash of prompts and seed."""
        text = f"{self.seed}\n{self.prompt}"
        if self.negative_prompt is not None:
            text += f"\0{self.negative_prompt}"
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    @property
    def label(self) -> str:
        """What a person reads."""
        return self.prompt

    def with_seed(self, seed: int) -> "ImageRequest":
        """The same prompt under another seed."""
        return replace(self, seed=seed)
