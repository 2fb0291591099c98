"""PoseFormer's cost in closed form: FLOPs of matrix products and convolutions, multiply-add = 2.

Equal to `torch.utils.flop_counter` on one clip under `sdpa_kernel(SDPBackend.MATH)`. The tracker
that finds the keypoints costs some hundred times as much; it is measured in milliseconds.

Symbols: T frames, F features, D width, C glosses.
"""

from sign_backend.config import SignConfig
from sign_backend.poseformer import KERNELS


def poseformer_flops(config: SignConfig, frames: int) -> int:
    """One clip of T `frames` through the whole model."""
    features, width = config.d_pose, config.d_hidden
    per_frame = 2 * features * sum(KERNELS)
    per_frame += 2 * (4 * features**2 + 16 * features * width + 10 * width**2 + features * width)
    per_frame += 4 * width * sum(KERNELS)  # the filters are pairs
    rows = frames + 1
    block = 16 * rows * width**2 + 4 * rows**2 * width
    language = config.lang_embedding_size if config.multilingual_conditioned else 0
    head = 2 * (width + language) * sum(config.num_classes)
    return frames * per_frame + config.num_attention_layers * block + head
