"""Multi-scale SSIM (Wang et al. 2003) through the package pytorch_msssim."""

from collections.abc import Sequence

import torch

from eval.metrics.protocol import MetricUnavailableError


class MsSsim:
    """MS-SSIM over five scales, Gaussian window 11 with sigma 1.5; needs sides above 160 pixels."""

    name = "ms_ssim"
    higher_is_better = True
    needs_reference = True
    needs_prompt = False
    minimum_side = 161
    provenance = "pytorch_msssim, five scales, Gaussian window 11"

    def __init__(self) -> None:
        """Find the package, or raise a `MetricUnavailableError`."""
        try:
            from pytorch_msssim import ms_ssim
        except ImportError as error:
            raise MetricUnavailableError(f"MS-SSIM needs the package {error.name}") from None
        self._function = ms_ssim

    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """[B] float32: the similarity of each pair of uint8 [B, H, W, 3], at most 1."""
        assert references is not None
        x, y = (batch.permute(0, 3, 1, 2).float() / 255 for batch in (images, references))
        return self._function(x, y, data_range=1.0, size_average=False)
