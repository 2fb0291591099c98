"""What each step of a chain costs, in full and under a decision: FLOPs in closed form."""

from collections.abc import Sequence
from functools import lru_cache

from base.decisions import SKIP, Decision
from base.stages import Stage
from fourm_backend.cost import context_flops, projection_flops, query_flops
from fourm_backend.modalities import TEXT_LIKE, Modality
from fourm_backend.state import Row, decoded
from fourm_backend.stepper import FULL, REUSE, Stepper
from fourm_backend.task import Task


def left_visible(modality: Modality) -> int:
    """Visible tokens of a condition that guidance empties."""
    return int(modality.type in (*TEXT_LIKE, "seq_emb"))


class StepCosts:
    """Costs of the steps that a stepper takes."""

    def __init__(self, stepper: Stepper, task: Task):
        self.stepper, self.task, self.model = stepper, task, stepper.model
        self._stages = lru_cache(maxsize=4096)(self._stages_of)

    def stages(self, visible: tuple[int, ...]) -> tuple[Stage, ...]:
        """The steps with their full costs, named `TARGET.NUMBER`.

        Args:
            visible: visible tokens of each condition.
        """
        return self._stages(visible)

    def fixed(self, lengths: Sequence[int]) -> float:
        """What is paid once: pixels and vectors are projected, and so are emptied vectors.

        Args:
            lengths: positions of each condition, visible or not.
        """
        config, total = self.model.config, 0
        for name, length in zip(self.task.cond_domains, lengths, strict=True):
            modality = config.inputs[name]
            once = projection_flops(config.architecture, modality, length)
            total += once * (2 if modality.type == "seq_emb" else 1)
        return float(total)

    def of(self, row: Row, decision: Decision) -> float:
        """The next step of a row under its decision."""
        if row.stage >= len(self.stepper.schedule) or decision["prune_ratio"] == SKIP:
            return 0.0
        step = self.stepper.schedule[row.stage]
        queries = self.stepper.tokens_now(row, decision["prune_ratio"])
        if step.scheme == "maskgit":
            entry = row.targets[step.target_domain]
            queries = entry["target_mask"].numel() - decoded(entry)
        flops = 0
        for branch in range(self.stepper.passes(row, decision)):
            kept = row.branches[branch]
            before = 0 if kept is None else kept.count
            seen = len(self.stepper.sites(row, branch))
            if decision["encoder"] == FULL:
                flops += self._full_pass_flops(step.target_domain, queries, seen)
                continue
            fresh = 0 if decision["encoder"] == REUSE else max(seen - before, 0)
            # register tokens, which no published model has, were encoded with the first tokens
            total = before + fresh + self.model.config.architecture.num_register_tokens
            flops += self._pass_flops(step.target_domain, queries, fresh, total)
        return float(flops)

    def _stages_of(self, visible: tuple[int, ...]) -> tuple[Stage, ...]:
        given = dict(zip(self.task.cond_domains, visible, strict=True))
        made = dict.fromkeys(self.task.target_domains, 0)
        stages: list[Stage] = []
        first: dict[str, int] = {}
        for index, step in enumerate(self.stepper.schedule):
            target = step.target_domain
            first.setdefault(target, index)
            length = self.model.config.outputs[target].num_positions
            assert step.num_tokens is not None
            queries = step.num_tokens if step.scheme == "roar" else length - made[target]
            flops = 0
            for branch in range(2 if step.guided else 1):
                hidden = [n for n in step.cfg_cond_domains if n != target] if branch else []
                seen = sum(
                    left_visible(self.model.config.inputs[name]) if name in hidden else n
                    for name, n in given.items()
                )
                seen += sum(
                    count
                    for name, count in made.items()
                    if name not in hidden and name in self.model.config.inputs
                )
                flops += self._full_pass_flops(target, queries, seen)
            name = f"{target}.{index - first[target]}"
            stages.append(Stage(name, step.num_tokens, float(flops)))
            made[target] += step.num_tokens
        return tuple(stages)

    def _pass_flops(self, target: str, queries: int, fresh: int, total: int) -> int:
        config = self.model.config.architecture
        vocabulary = self.model.config.outputs[target].vocab_size
        context = context_flops(config, fresh, total) if fresh else 0
        return context + query_flops(config, queries, total, vocabulary)

    def _full_pass_flops(self, target: str, queries: int, seen: int) -> int:
        tokens = seen + self.model.config.architecture.num_register_tokens
        return self._pass_flops(target, queries, tokens, tokens)
