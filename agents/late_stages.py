"""Rules about the late stages as a whole, which refine what the early ones have settled.

Source: StageVAR / FasterVAR (ICML 2026), in its idea: early stages, which settle what the picture
shows and how it is built, are kept; in the late ones the text hardly matters any more, so the
guidance branch is off, and few tokens carry what is left to do. Its low-rank projections are not
reproduced.
"""

from agents.controllers import Situation
from base.decisions import Decision, Ratio
from base.errors import ConfigError
from envs.generator import Generator

LATE_SHARE = 4 / 13  # the last four of Infinity's 13 stages at 1 megapixel


class LateStages:
    """In the last stages no guidance branch, and only a share of the tokens.

    Args:
        ratio: share of the tokens that is left out in a late stage, in [0, 1).
        generator: must have both a ratio and a guidance branch to decide about.

    Raises:
        ConfigError: another ratio, or a generator without these fields.
    """

    flops_per_decision = 0.0
    replacements: tuple[Decision, ...] | None = None
    obs_mode = "vector"

    def __init__(self, ratio: float, generator: Generator) -> None:
        fields = generator.decision_space.fields
        if not isinstance(fields.get("prune_ratio"), Ratio) or "guidance" not in fields:
            raise ConfigError(
                f"stagevar sets prune_ratio and guidance; this generator's decisions have "
                f"{list(fields)}"
            )
        if not 0.0 <= ratio < 1.0:
            raise ConfigError(f"stagevar: the ratio is {ratio}; expected 0 to below 1")
        self.ratio = ratio
        self.name = self.identity = f"stagevar:{ratio:g}"
        self.first_controlled_stage = 1

    def decide(self, situation: Situation) -> list[Decision]:
        """Full decisions early, the same reduced one in every late stage."""
        decisions: list[Decision] = []
        for row, stage in enumerate(situation.stage.tolist()):
            stages = len(situation.stage_names[row])
            late = stages - stage <= max(1, round(LATE_SHARE * stages))
            decisions.append({"prune_ratio": self.ratio, "guidance": False} if late else {})
        return decisions
