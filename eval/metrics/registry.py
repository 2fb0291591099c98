"""The metrics by name, and how each is built from the settings of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from base.errors import ConfigError
from eval.metrics import pixels
from eval.metrics.clip import OFFICIAL_REPOSITORY, Clip, ClipImage, official_folder
from eval.metrics.features import Dino, DreamSim
from eval.metrics.lpips import Lpips
from eval.metrics.ms_ssim import MsSsim
from eval.metrics.plugins import installed_plugins, load_plugin, reward_metrics
from eval.metrics.protocol import Metric, MetricUnavailableError, Similarity
from eval.metrics.ssim import WINDOW_SIDES, ssim


@dataclass(frozen=True)
class MetricSettings:
    """What the metrics need to know.

    Attributes:
        ssim_window: `gaussian11`, `uniform7` or `legacy3`.
        lpips_net: `alex`, `vgg` or `squeeze`.
        lpips_trunk: a file of ImageNet weights for the net, `stand-in` or `auto`.
        clip_model: a folder of an open_clip model; None looks in the hub's cache.
        shipped_clip: the folder of the small CLIP that comes with the product, used when the
            official one is not there; its figure is called `clip_scenes`.
        device: where metrics run.
        kept_bytes: how much memory a metric may take for what it knows of references.
        pythons: by learned reward, the Python of the environment that has its package.
    """

    ssim_window: str = "gaussian11"
    lpips_net: str = "alex"
    lpips_trunk: str | Path = "auto"
    clip_model: Path | None = None
    shipped_clip: Path | None = None
    device: str = "cpu"
    kept_bytes: int = 0
    pythons: Mapping[str, str] = field(default_factory=dict)


def make_metrics(
    names: Sequence[str], settings: MetricSettings
) -> tuple[list[Metric], dict[str, str]]:
    """Build metrics by name: those listed here, learned rewards, and plug-ins.

    Returns:
        The metrics, and the reason for each name that cannot be computed here.

    Raises:
        ConfigError: a name that is not known, or two metrics that call themselves the same.
    """
    makers: dict[str, Callable[[MetricSettings], list[Metric]]] = {
        **{name: partial(load_plugin, point) for name, point in installed_plugins().items()},
        **reward_metrics(settings.pythons),
        **METRICS,
    }
    unknown = [name for name in names if name not in makers]
    if unknown or not names:
        raise ConfigError(f"metrics are {list(names)}; expected some of {sorted(makers)}")
    metrics: list[Metric] = []
    not_computed = {}
    for name in dict.fromkeys(names):
        try:
            metrics += makers[name](settings)
        except MetricUnavailableError as error:
            not_computed[name] = str(error)
    own_names = [metric.name for metric in metrics]
    twice = sorted({name for name in own_names if own_names.count(name) > 1})
    if twice:
        raise ConfigError(f"two of the metrics {list(names)} call themselves {twice}")
    return metrics, not_computed


def _ssim(settings: MetricSettings) -> list[Metric]:
    window = settings.ssim_window
    if window not in WINDOW_SIDES:
        raise ConfigError(f"SSIM window is {window!r}; expected one of {list(WINDOW_SIDES)}")
    return [
        Similarity(
            name="ssim" if window == "gaussian11" else f"ssim_{window}",
            function=partial(ssim, window=window),
            higher_is_better=True,
            provenance=f"structural similarity as scikit-image computes it, window {window}",
            minimum_side=WINDOW_SIDES[window],
        )
    ]


def _clip(kind: type[Clip], name: str, settings: MetricSettings) -> list[Metric]:
    folder = settings.clip_model or official_folder()
    if folder:
        return [kind(folder, name, settings.device)]
    if settings.shipped_clip:
        clip = kind(settings.shipped_clip, f"{name}_scenes", settings.device)
        clip.provenance += (
            "; this is the SMALL CLIP shipped with the product, trained on its own scenes: "
            "meaningless for other images, not comparable with CLIP scores elsewhere"
        )
        return [clip]
    raise MetricUnavailableError(
        f"no CLIP weights: {OFFICIAL_REPOSITORY} is not in the cache and no folder was given"
    )


METRICS: dict[str, Callable[[MetricSettings], list[Metric]]] = {
    "ssim": _ssim,
    "psnr": lambda settings: list(pixels.psnr_metrics()),
    "lpips": lambda settings: [
        Lpips(settings.lpips_net, settings.lpips_trunk, settings.device, settings.kept_bytes)
    ],
    "clip": partial(_clip, Clip, "clip"),
    "clip_image": partial(_clip, ClipImage, "clip_image"),
    "dino": lambda settings: [Dino(settings.device)],
    "dreamsim": lambda settings: [DreamSim(settings.device)],
    "ms_ssim": lambda settings: [MsSsim()],
    "mse": lambda settings: [
        Similarity("mse", pixels.mean_squared_error, False, "mean squared error, values 0 to 255")
    ],
    "mae": lambda settings: [
        Similarity("mae", pixels.mean_absolute_error, False, "mean absolute error, values 0 to 255")
    ],
    "max_abs": lambda settings: [
        Similarity("max_abs", pixels.largest_error, False, "largest error, values 0 to 255")
    ],
}
