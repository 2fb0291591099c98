"""Infinity as a generator of the protocol in `envs/generator.py`."""

import logging
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from base.decisions import SKIP, Choice, Decision, DecisionSpace, Ratio, distinct
from base.errors import ConfigError, GenerationError
from base.stages import Stage
from infinity_backend.cost import decoder_flops, stage_flops, text_flops
from infinity_backend.features import feature_names, state_features, text_projection
from infinity_backend.high_frequency import FEATURE_GRID, detail_features
from infinity_backend.load import load_parts
from infinity_backend.packed_state import Packed, pack, unpack
from infinity_backend.parts import InfinityParts
from infinity_backend.request import ImageRequest
from infinity_backend.state import GenerationState, Row
from infinity_backend.text import TextCondition

logger = logging.getLogger(__name__)

DECISIONS = DecisionSpace(
    fields={"prune_ratio": Ratio(), "guidance": Choice((True, False))},
    menu=tuple({"prune_ratio": ratio, "guidance": True} for ratio in (0.0, 0.4, 0.7, SKIP)),
)


class InfinityGenerator:
    """Text to image, scale by scale. A decision sets `prune_ratio` and `guidance` of one scale.

    Guidance that was dropped stays dropped. The first scale cannot be skipped.
    """

    output_kind = "image"
    decision_space = DECISIONS

    def __init__(self, pipeline: InfinityParts):
        self.pipeline = pipeline
        self.stepper = pipeline.stepper
        self.fingerprint = pipeline.fingerprint
        config = self.stepper.config
        self.feature_names = feature_names(config.vae.codebook_dim, config.infinity.embed_dim)
        self.max_stages = self.stepper.num_stages
        grid = self.stepper.tokenizer_grid(self.max_stages - 1)
        self.latent_shape = (self.stepper.config.vae.codebook_dim, *grid)
        projection = text_projection(config.infinity.embed_dim)
        self._projection = projection.to(self.stepper.device)
        self._decode_flops = decoder_flops(self.stepper.vae, grid)
        self.detail_features_flops = 2.0 * decoder_flops(self.stepper.vae, FEATURE_GRID)
        self._stages = lru_cache(maxsize=4096)(self._stages_for)
        self._stage_flops = lru_cache(maxsize=65536)(partial(stage_flops, config))

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> "InfinityGenerator":
        """Load a pipeline folder, or official files; see `infinity_backend.load.load_parts`."""
        return cls(load_parts(folder, **options))

    def stages(self, request: ImageRequest) -> tuple[Stage, ...]:
        """The scales, named by their grid; costs depend on the lengths of the prompts."""
        return self._stages(self._text_lengths(request))

    def _text_lengths(self, request: ImageRequest) -> tuple[int, ...]:
        """Text tokens of each branch."""
        prompts = [request.prompt]
        if self.stepper.guided:
            negative = request.negative_prompt
            prompts.append(request.prompt if negative is None else negative)
        return tuple(self.pipeline.text_encoder.length(prompt) for prompt in prompts)

    def _stages_for(self, lengths: tuple[int, ...]) -> tuple[Stage, ...]:
        config, stages = self.stepper.config, []
        past: list[tuple[int, int]] = []
        for index, (height, width) in enumerate(config.schedule):
            tokens, cfg = height * width, self.stepper.cfg[index]
            flops = stage_flops(config, index, 0.0, past, lengths, cfg)
            stages.append(Stage(f"{height}x{width}", tokens, float(flops)))
            past.append((tokens, tokens))
        return tuple(stages)

    def fixed_cost(self, request: ImageRequest) -> float:
        """Text encoder, what the prompt gives to every stage, and one decode."""
        encoder, model = self.pipeline.text_encoder, self.stepper.config.infinity
        encoded = encoder.flops(request.prompt)
        if request.negative_prompt is not None:
            encoded += encoder.flops(request.negative_prompt)
        return float(encoded + text_flops(model, self._text_lengths(request)) + self._decode_flops)

    def begin(self, requests: Sequence[ImageRequest]) -> GenerationState:
        """A state for B requests, nothing drawn yet."""
        text = self.pipeline.text_encoder([request.prompt for request in requests])
        seed = requests[0].seed if requests else 0
        negative = self._negative(requests, text)
        return self.stepper.begin(requests, text, negative, stream_seed=seed)

    def _negative(
        self, requests: Sequence[ImageRequest], text: TextCondition
    ) -> TextCondition | None:
        """The text of the guidance branch, if any request has its own."""
        given = [request.negative_prompt for request in requests]
        if all(prompt is None for prompt in given):
            return None
        if not self.stepper.guided:
            raise ConfigError(
                "a negative prompt is what guidance leads away from, and this model runs without "
                f"guidance (cfg {self.stepper.config.sampling.cfg}); leave it out, or set another "
                "cfg"
            )
        own = self.pipeline.text_encoder([prompt for prompt in given if prompt is not None])
        rows = iter(own.rows())
        bare = text.unconditional(self.stepper.model.cfg_uncond).rows()
        return TextCondition.from_rows(
            [
                bare_row.to(own.features.device) if p is None else next(rows)
                for p, bare_row in zip(given, bare, strict=True)
            ]
        )

    def allowed(self, state: GenerationState, decisions: Sequence[Decision]) -> np.ndarray:
        """[B, n] bool; see the class for what is forbidden."""
        complete = [self.decision_space.complete(decision) for decision in decisions]
        branches = np.array([row.branches for row in state.rows])
        columns = [
            state.stage > 0
            if decision["prune_ratio"] == SKIP
            else (branches == 2) | (not decision["guidance"] or not self.stepper.guided)
            for decision in complete
        ]
        return np.array(columns, dtype=bool).reshape(len(complete), len(state.rows)).T

    def cost(self, state: GenerationState, decisions: Sequence[Decision]) -> np.ndarray:
        """[B] float64 FLOPs of the next stage of each row under its own decision."""
        costs = [
            self._row_cost(row, int(stage), self.decision_space.complete(decision))
            for row, stage, decision in zip(state.rows, state.stage, decisions, strict=True)
        ]
        return np.array(costs, dtype=np.float64)

    def _row_cost(self, row: Row, stage: int, decision: Decision) -> float:
        ratio = decision["prune_ratio"]
        if stage >= self.max_stages or ratio == SKIP:
            return 0.0
        branches = row.branches if decision["guidance"] else 1
        text, past = row.text, tuple((ref.chunk.tokens, ref.chunk.kept) for ref in row.history)
        lengths = tuple(of_branch[text.index] for of_branch in text.chunk.lengths[:branches])
        return float(self._stage_flops(stage, ratio, past, lengths, self.stepper.cfg[stage]))

    def advance(self, state: GenerationState, decisions: Sequence[Decision]) -> GenerationState:
        """One stage of each row that is not done.

        Raises:
            GenerationError: a decision that `allowed` forbids, or logits that are not finite.
        """
        complete = [self.decision_space.complete(decision) for decision in decisions]
        listed = distinct(complete)
        allowed = self.allowed(state, listed)
        for row, (stage, decision) in enumerate(zip(state.stage, complete, strict=True)):
            if stage < self.max_stages and not allowed[row, listed.index(decision)]:
                raise GenerationError(
                    f"row {row} ({state.requests[row].label!r}), stage {stage}: {decision} is "
                    "not allowed: the first stage cannot be skipped, and guidance that was dropped "
                    "stays dropped. Ask `allowed` first"
                )
        return self.stepper.advance(state, complete)

    def fork(self, state: GenerationState, rows: Sequence[int]) -> GenerationState:
        """Rows copied, dropped or repeated; what is large is shared."""
        return state.fork(rows)

    def join(self, states: Sequence[GenerationState]) -> GenerationState:
        """States side by side."""
        return GenerationState.join(states)

    @property
    def packs_states(self) -> bool:
        """Rows can be kept alone unless the whole batch draws from one stream."""
        return self.stepper.config.sampling.noise == "keyed"

    def pack(self, state: GenerationState) -> list[Packed]:
        """Each row as tensors on the CPU, see `infinity_backend/packed_state.py`."""
        return pack(state)

    def unpack(self, requests: Sequence[ImageRequest], packed: Sequence[Any]) -> GenerationState:
        """A state of packed rows, `packed[k]` being that of `requests[k]`."""
        return unpack(requests, packed, self.stepper.device)

    def features(self, state: GenerationState) -> np.ndarray:
        """[B, F] float32; columns in `infinity_backend/features.py`."""
        return state_features(state, self._projection)

    def latent(self, state: GenerationState) -> tuple[np.ndarray, np.ndarray]:
        """[B, d, H, W] float32 twice: the sum of codes before the last stage, and now."""
        return state.previous_codes.cpu().numpy(), state.codes.cpu().numpy()

    def detail_features(self, state: GenerationState) -> np.ndarray:
        """[B, 2] what SkipVAR decides by, see `infinity_backend/high_frequency.py`.

        Costs `detail_features_flops` a row.
        """
        return detail_features(self.stepper.vae, state).cpu().numpy()

    def preview(self, state: GenerationState, rows: Sequence[int] | None = None) -> np.ndarray:
        """Images of the codes so far, uint8 RGB [rows, height, width, 3]."""
        codes = state.codes if rows is None else state.codes[list(rows)]
        return self.stepper.images(codes)

    def finish(self, state: GenerationState) -> np.ndarray:
        """Images of the rows that are done, uint8 RGB [rows, height, width, 3]."""
        return self.stepper.images(state.codes[np.flatnonzero(state.done).tolist()])
