"""What one image is about."""

import hashlib
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ImageRequest:
    """A prompt and the seed of all of its noise."""

    prompt: str
    seed: int = 0

    @property
    def key(self) -> str:
        """A name for caches: hash of prompt and seed."""
        return hashlib.sha256(f"{self.seed}\n{self.prompt}".encode()).hexdigest()[:24]

    @property
    def label(self) -> str:
        """What a person reads."""
        return self.prompt

    def with_seed(self, seed: int) -> "ImageRequest":
        """The same prompt under another seed."""
        return replace(self, seed=seed)
