"""`PruningEnv`: one request at a time, as a Gymnasium environment."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from envs.core import PruningCore
from envs.generator import Generator, Request
from envs.settings import EnvSettings


class PruningEnv(gymnasium.Env[np.ndarray, Any]):
    """How much of each stage should a frozen generator compute?

    ## Description
    A generator makes an output (an image) from a request (a prompt and a seed) in stages, coarse to
    fine. Nine tenths of the work is in the last few. At each stage the agent decides how much of it
    to compute; what is left out is filled from what is there. Some requests lose their detail that
    way and some lose nothing: the agent has to find out which. An episode is one request.

    ## Action Space
    With `action_mode="discrete"`: `Discrete(n)`, the number of a decision in the menu. The default
    menu is the generator's, as `{keep everything, prune .4, prune .7, skip}`;
    `envs.actions.product_menu` builds others, such as ratios x {guidance on, off}.

    With `action_mode="box"`: `Box(-1, 1, (D,))`, one number for each field of a decision. With
    u = (a + 1) / 2 a ratio is u, where u <= .05 means 0 and u >= .95 means skip; a choice of k
    values is number floor(u * k). Values beyond the bounds are clipped. `"box_v1"` (skip above .95)
    and `"box_exact"` (skip at 1) snap nothing else: so did the predecessor's versions.

    A decision that the generator forbids now (skipping its first stage, taking up guidance that was
    dropped) is replaced by the nearest allowed one: fewest fields changed, then nearest in cost;
    `info["action_replaced"]` says so. `action_masks()` tells in advance.

    ## Observation Space
    `Box` of float32 with these columns, named by `env.observation_names`:

    | columns | what | range |
    |---|---|---|
    | `stage_0` ... | one-hot of the stage to be decided; all zero after the last one | 0 to 1 |
    | `spent` | cost so far / full cost of the request | 0 to 1 |
    | `saved` | cost saved so far / full cost of the request | 0 to 1 |
    | `last_<field>` | last decision: ratio (1 = skip); place of a choice in its list | 0 to 1 |
    | features | what the generator shows of itself, by `generator.feature_names` | -5 to 5 |
    | `preference` | the weight w of this episode | 0 to 1 |
    | `price` | ln(w / (1 - w)), what compute is worth in fidelity | -7 to 7 |

    `obs_mode="vector_no_prompt"` leaves out the features that only tell the prompt: they are many,
    and are learned by heart where prompts are few. With `obs_mode="v1"`, `"v2"`, `"v3"` or
    `"fixed"` it is instead a stack of the codes on the last grid, for CNNs; channels are in
    `envs/latent_observation.py`.

    ## Rewards
    `pareto`: at each stage w x (full cost of the stage - its cost) / full cost of the request, and
    at the last one also (1 - w) x fidelity, the primary figure of the final output against its
    reference (the same request with nothing pruned): SSIM for images. Use gamma = 1: the return is
    then w x saved + (1 - w) x fidelity. The full cost includes what cannot be saved (text, decode).
    With `cost="latency"` costs are milliseconds of the calibrated device, and each decision also
    pays for the time that features and policy take; `spent` and `saved` count the same.

    `v1`, `v2` and `v3` are the predecessor's (`envs/predecessor.py`): the last four stages can be
    pruned, and the picture after each is compared with the unpruned one after the same stage. They
    need figures as `scorers`, see `envs/stage_reward.py`.

    ## Starting State
    The next request of a seeded order (every request once an epoch, in a new permutation). The
    stages before `first_controlled_stage` have been computed in full. `reset(options={"request":
    request or its number in the list, "preference": w})` chooses instead of drawing; a chosen
    request keeps its own seed.

    ## Episode End
    `terminated` after the last stage of the request. Nothing is ever truncated; register without
    `max_episode_steps`.

    ## Information
    `reset`: `label`, `key` and `seed` of the request, `preference`. Each step: `stage`,
    `stage_cost_flops`, `stage_saved` (share of the request's full cost), `decision`,
    `action_replaced`. The last step, in addition: what `reset` told, the fidelity figures (`ssim`
    and `psnr` for images), `cost_flops`, `full_cost_flops`, `saved`, `return`, `decisions` and
    `costs_flops` of all stages, `latency_ms` and `full_latency_ms` if there is a table; all of
    these once more together as `episode_summary`; `image` if `keep_images`. Under rewards `v1` to
    `v3` also `scale_index`, `prune_ratio`, `quality_score`, `speed_score`, `quality_reward`,
    `speed_reward`, `total_reward`, `alpha`, `reward_components` and the figures of the step, of
    which `psnr` is capped at 100 dB, not at 50 as in `episode_summary`.

    ## Arguments
    | argument | default | what |
    |---|---|---|
    | `generator` | | anything that follows `envs.generator.Generator` |
    | `requests` | | the list from which episodes are drawn; their keys must differ |
    | `action_mode` | `"discrete"` | or `"box"`, `"box_v1"`, `"box_exact"` |
    | `menu` | `None` | decisions of the discrete actions; `None`: the generator's own menu |
    | `preference` | `0.5` | w: 0 only fidelity counts, 1 only compute; `(low, high)`: in log-odds |
    | `reward` | `"pareto"` | or `"v1"`, `"v2"`, `"v3"` |
    | `fidelity` | `None` | the figure that `pareto` weighs; `None`: the primary one |
    | `cost` | `"flops"` | or `"latency"`: by `latency_table` |
    | `obs_mode` | `"vector"` | or `"vector_no_prompt"`; `"v1"`, `"v2"`, `"v3"`, `"fixed"`: codes |
    | `scorers` | `()` | further figures of final images, such as LPIPS, in the last info |
    | `fresh_seeds` | `False` | draw a new seed each episode (each needs its own reference) |
    | `first_controlled_stage` | `1` | stages before it run in full inside `reset` |
    | `strict_actions` | `False` | raise where an action would be replaced |
    | `reference_cache` | `None` | an `envs.references.ReferenceCache`; `None`: in memory |
    | `prefix_cache` | `None` | an `envs.prefixes.PrefixCache`; `None`: in memory |
    | `shuffle` | `True` | `False`: requests in the order given |
    | `repeats` | `1` | so many episodes in a row have the same request and weight |
    | `keep_images` | `False` | put the final image into the last info |
    | `latency_table` | `None` | milliseconds, see `agents.latency.LatencyTable` |
    | `render_mode` | `None` | `"rgb_array"`: `render()` gives the image as if it stopped here |

    ## Version History
    * v0: first version.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        generator: Generator,
        requests: Sequence[Request],
        **settings: Any,
    ):
        self.core = PruningCore(generator, requests, 1, EnvSettings(**settings))
        self.render_mode = self.core.settings.render_mode
        self.observation_space = self.core.observation.space
        self.action_space = self.core.actions.space

    @property
    def observation_names(self) -> tuple[str, ...]:
        """What each column of an observation is."""
        return self.core.observation.names

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the next request, or the one that `options` names."""
        super().reset(seed=seed)
        self.core.seed(seed)
        infos = self.core.start([0], [options or {}])
        return self.core.observe()[0], infos[0]

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one stage.

        Raises:
            ResetNeeded: before the first `reset`, or after the end of the episode.
            ConfigError: an action of the wrong shape or kind, or one that is not finite.
            GenerationError: a forbidden action under `strict_actions`.
        """
        rewards, terminated, infos = self.core.step(np.asarray(action)[None])
        return self.core.observe()[0], float(rewards[0]), bool(terminated[0]), False, infos[0]

    def action_masks(self) -> np.ndarray:
        """[n] bool: which decisions of the menu are allowed now (`MaskablePPO` asks for this)."""
        return self.core.action_masks()[0]

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The image as it would be if the generator stopped here, uint8 RGB [height, width, 3]."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs render_mode='rgb_array' when the env is made")
            return None
        return np.array(self.core.preview([0])[0])
