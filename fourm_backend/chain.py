"""A model and the chain of targets that it makes, for a batch of conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from base.errors import ConfigError, DataError
from fourm_backend.generate import Made, empty_targets, generate
from fourm_backend.modalities import TEXT_LIKE
from fourm_backend.model import FourM
from fourm_backend.multi_guided import generate_multi_guided
from fourm_backend.sample_checks import check_sample
from fourm_backend.samples import empty_condition
from fourm_backend.sampling import SiteNoise
from fourm_backend.task import Task


@dataclass(frozen=True)
class Chain:
    """A model and what is done with it."""

    model: FourM
    task: Task

    def __post_init__(self) -> None:
        outputs, inputs = self.model.config.outputs, self.model.config.inputs
        self.task.schedule(outputs)  # refuses settings that do not fit, early
        unknown = [name for name in self.task.cond_domains if name not in inputs]
        if unknown:
            raise ConfigError(f"cond_domains has {unknown}; this model takes {sorted(inputs)}")
        texts = [name for name in self.task.target_domains if outputs[name].type in TEXT_LIKE]
        if self.task.multi_guided and texts:
            raise ConfigError(
                f"cfg_scales has a weight for each condition, which text ({texts}) cannot have"
            )

    def run(self, conditions: Made, seeds: Sequence[int], text_tokenizer: Any = None) -> Made:
        """Make the targets, one row a seed, of conditions with as many rows.

        Raises:
            DataError: conditions other than those of the task, or another number of rows.
        """
        if set(conditions) != set(self.task.cond_domains):
            raise DataError(
                f"{sorted(conditions)} are given; the task takes {sorted(self.task.cond_domains)}"
            )
        check_sample(self.model, conditions, ())
        for name, entry in conditions.items():
            if len(entry["tensor"]) != len(seeds):
                raise DataError(
                    f"{name} has {len(entry['tensor'])} rows for {len(seeds)} seeds; each row "
                    "needs one"
                )
        schedule = self.task.schedule(self.model.config.outputs)
        sample = empty_targets(self.model, conditions, schedule, self._lengths, rows=len(seeds))
        filters = self.task.top_k, self.task.top_p
        noise = SiteNoise(seeds)
        if not self.task.multi_guided:
            return generate(self.model, sample, schedule, *filters, text_tokenizer, noise=noise)
        inputs = self.model.config.inputs
        without = {name: sample[name] for name in self.task.target_domains}
        for name, entry in conditions.items():
            if inputs[name].type in (*TEXT_LIKE, "seq_emb"):  # the rest is simply absent
                without[name] = empty_condition(inputs[name], entry)
        alone: list[Made] = [{name: entry} for name, entry in conditions.items()]
        return generate_multi_guided(self.model, without, alone, schedule, *filters, noise=noise)

    @property
    def _lengths(self) -> Mapping[str, int]:
        counts = zip(self.task.target_domains, self.task.tokens_per_target, strict=True)
        return {name: count for name, count in counts if count is not None}
