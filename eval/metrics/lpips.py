"""LPIPS (Zhang et al. 2018) through the lpips package, without ever downloading anything.

The package ships its linear heads; the trunk they read needs ImageNet weights. Where those are on
disk the figure is called `lpips`. Where they are not, a trunk of fixed random weights stands in for
them: the figure then still grows with visible differences, but it is not LPIPS and cannot be
compared with any published number, so it has another name: `lpips_standin`.
"""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from base.bounded import BoundedMemory
from base.errors import ConfigError
from base.torchvision_stub import import_torchvision
from eval.metrics.protocol import MetricUnavailableError

TRUNK_FILES = {  # as torchvision names them in the cache of torch.hub
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
_STAND_IN_SEED = 1234
_STAND_IN_TEXT = (
    f"STAND-IN trunk of random weights (seed {_STAND_IN_SEED}) instead of ImageNet weights: "
    "not comparable with LPIPS elsewhere"
)
_MINIMUM_SIDES = {"alex": 31, "vgg": 16, "squeeze": 17}  # smaller ones vanish in the trunk


class Lpips:
    """LPIPS v0.1 with one of its three trunks.

    Attributes:
        name: `lpips`, or `lpips_standin` if the trunk has no ImageNet weights.
    """

    higher_is_better = False
    needs_reference = True
    needs_prompt = False

    def __init__(
        self,
        net: str = "alex",
        trunk: str | Path = "auto",
        device: str = "cpu",
        kept_bytes: int = 0,
    ) -> None:
        """Build the network.

        Args:
            net: `alex`, `vgg` or `squeeze`.
            trunk: a file of torchvision's ImageNet weights for the net; `stand-in`; or `auto`: the
                file in the cache of torch.hub if it is there, else the stand-in.
            device: where it runs.
            kept_bytes: how much memory may be taken by what the trunk makes of references, for
                those that come again, as in training. The longest unused goes first; 0 keeps
                nothing.

        Raises:
            ConfigError: an unknown net.
            MetricUnavailableError: the package is missing, or the trunk's file cannot be used.
        """
        if net not in TRUNK_FILES:
            raise ConfigError(f"LPIPS net is {net!r}; expected one of {list(TRUNK_FILES)}")
        cached = Path(torch.hub.get_dir()) / "checkpoints" / TRUNK_FILES[net]
        if trunk == "auto":
            trunk = cached if cached.is_file() else "stand-in"
        network = _network(net)
        if trunk == "stand-in":
            _fill_with_stand_in(network.get_submodule("net"))
            self.name, trunk_text = "lpips_standin", _STAND_IN_TEXT
        else:
            _load_trunk(network.get_submodule("net"), Path(trunk))
            self.name, trunk_text = "lpips", f"ImageNet trunk {Path(trunk).name}"
        self.provenance = f"lpips package, v0.1 heads, {net}, {trunk_text}"
        self.minimum_side = _MINIMUM_SIDES[net]
        self._network: Any = network.to(device)  # the package is not typed
        self.kept: BoundedMemory[list[torch.Tensor]] = BoundedMemory(kept_bytes)

    @torch.inference_mode()
    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """[B] float32: the distance of each pair of uint8 [B, H, W, 3]; 0 for identical images."""
        assert references is not None
        if not self.kept.limit_bytes:
            return self._network(_scaled(images), _scaled(references)).flatten()
        import lpips

        layers = zip(
            self._network.lins, self._features(images), self._kept_features(references), strict=True
        )
        means = [lpips.spatial_average(head((x - y).square())) for head, x, y in layers]
        return torch.stack(means).sum(0).flatten()

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What the trunk makes of uint8 [B, H, W, 3]: [B, C, h, w] a layer, of length 1 over C."""
        import lpips

        layers = self._network.net(self._network.scaling_layer(_scaled(images)))
        return [lpips.normalize_tensor(layer) for layer in layers]

    def _kept_features(self, references: torch.Tensor) -> list[torch.Tensor]:
        """The same of references, each worked out once while it is kept."""
        keys = [hashlib.sha256(image.cpu().numpy().tobytes()).digest() for image in references]
        shape = references.shape[1:]
        found = {key: layers for key in keys if (layers := self.kept.get((shape, key)))}
        missing = {key: row for row, key in enumerate(keys) if key not in found}
        if missing:
            made = self._features(references[list(missing.values())])
            for place, key in enumerate(missing):
                found[key] = [layer[place].clone() for layer in made]
                size_bytes = sum(layer.nbytes for layer in found[key])
                self.kept.put((shape, key), found[key], size_bytes)
        return [torch.stack(layers) for layers in zip(*(found[key] for key in keys), strict=True)]


def _scaled(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1  # [B, 3, H, W] in [-1, 1]


def _network(net: str) -> torch.nn.Module:
    try:
        import_torchvision()
        import lpips
    except ImportError as error:
        raise MetricUnavailableError(f"LPIPS needs the package {error.name}") from None
    with warnings.catch_warnings():  # the package asks torchvision in a form that it deprecates
        warnings.simplefilter("ignore")
        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)


def _load_trunk(trunk: torch.nn.Module, file: Path) -> None:
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        own = {name: f"features.{name.split('.', 1)[1]}" for name in trunk.state_dict()}
        trunk.load_state_dict({name: weights[theirs] for name, theirs in own.items()})
    except Exception as error:  # a damaged file fails in whatever way it likes
        raise MetricUnavailableError(
            f"{file} does not hold this trunk's ImageNet weights: {type(error).__name__}: {error}"
        ) from None


def _fill_with_stand_in(trunk: torch.nn.Module) -> None:
    random = np.random.RandomState(_STAND_IN_SEED)
    for layer in trunk.modules():
        if isinstance(layer, torch.nn.Conv2d):
            inputs = layer.weight[0].numel()
            weight = random.randn(*layer.weight.shape) * np.sqrt(2 / inputs)
            layer.weight.data = torch.from_numpy(weight.astype(np.float32))
            assert layer.bias is not None
            torch.nn.init.zeros_(layer.bias)
