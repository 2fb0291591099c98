"""Metrics from elsewhere: entry points of installed packages, and rewards in other processes.

A package offers a metric by an entry point of the group `prunegym.metrics`. Its value is called
with `MetricSettings` and gives one metric, or a list of them; see docs/evaluation.md.
"""

import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from base.errors import ConfigError
from eval.metrics import reward_worker
from eval.metrics.process import ProcessMetric
from eval.metrics.protocol import Metric, MetricUnavailableError

GROUP = "prunegym.metrics"

_NAME = re.compile(r"[A-Za-z0-9_.-]+")  # names become columns, and parts of reasons
_OTHER_COLUMNS = [
    "id",
    "folder",
    "status",
    "identical",
    "compute_saved",
    "cost_flops",
    "latency_ms",
    "decisions",
    "detail",
    "reasons",
    "file_sha256",
    "has_alpha",
    "lossy",
    "category",
    "prompt",
    "prompt_source",
]
_ATTRIBUTES = (
    "name",
    "higher_is_better",
    "needs_reference",
    "needs_prompt",
    "minimum_side",
    "provenance",
)


def installed_plugins() -> dict[str, EntryPoint]:
    """The entry points of the group by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load_plugin(point: EntryPoint, settings: Any) -> list[Metric]:
    """The metrics of an entry point.

    Raises:
        MetricUnavailableError: it cannot be loaded, or does not give metrics; the text says why.
    """
    where = f"the plug-in {point.name} ({point.value})"
    try:
        made = point.load()(settings)
    except MetricUnavailableError:
        raise
    except Exception as error:  # of a third party's code
        raise MetricUnavailableError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    metrics = list(made) if isinstance(made, list | tuple) else [made]
    for metric in metrics:
        lacking = [name for name in _ATTRIBUTES if not hasattr(metric, name)]
        if lacking or not callable(metric):
            raise MetricUnavailableError(f"{where} gives no metric: it lacks {lacking or 'a call'}")
        if not _NAME.fullmatch(str(metric.name)) or metric.name in _OTHER_COLUMNS:
            raise MetricUnavailableError(
                f"{where} has a metric called {metric.name!r}; expected letters, digits and _ . -, "
                "and not the name of another column"
            )
    return metrics


def reward_metrics(
    pythons: Mapping[str, str],
) -> dict[str, Callable[[Any], list[Metric]]]:
    """ImageReward, HPSv2, HPSv3 and VIEScore: each in a process, so that pins cannot clash.

    Args:
        pythons: by reward, the Python that has its package; this one for those that are left out.
    """
    unknown = set(pythons) - set(reward_worker.REWARDS)
    if unknown:
        raise ConfigError(
            f"a Python is given for {sorted(unknown)}; expected some of "
            f"{sorted(reward_worker.REWARDS)}"
        )
    worker = str(Path(reward_worker.__file__))

    def maker(name: str) -> Callable[[Any], list[Metric]]:
        command = [pythons.get(name, sys.executable), worker, name]
        return lambda settings: [ProcessMetric([*command, settings.device])]

    return {name: maker(name) for name in reward_worker.REWARDS}
