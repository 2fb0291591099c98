"""4M and EgoM2P as generators of the protocol in `envs/generator.py`."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from base.decisions import SKIP, Choice, Decision, DecisionSpace, Ratio
from base.errors import ConfigError, DataError, GenerationError
from base.stages import Stage
from fourm_backend.checkpoints import config_json
from fourm_backend.features import condition_projection, feature_names, row_features
from fourm_backend.modalities import TEXT_LIKE, Modality
from fourm_backend.model import FourM
from fourm_backend.packing import embed
from fourm_backend.request import TokenRequest
from fourm_backend.samples import empty_condition, empty_target
from fourm_backend.state import Entry, Row, TokenState
from fourm_backend.step_costs import StepCosts, left_visible
from fourm_backend.stepper import FULL, INCREMENTAL, REUSE, Stepper
from fourm_backend.task import Task

_FULL_DECISION = {"prune_ratio": 0.0, "guidance": True, "encoder": FULL}
DECISIONS = DecisionSpace(
    fields={
        "prune_ratio": Ratio(),
        "guidance": Choice((True, False)),
        "encoder": Choice((FULL, INCREMENTAL, REUSE)),
    },
    menu=(
        _FULL_DECISION,
        _FULL_DECISION | {"encoder": INCREMENTAL},
        _FULL_DECISION | {"encoder": REUSE},
        _FULL_DECISION | {"guidance": False},
        _FULL_DECISION | {"guidance": False, "encoder": INCREMENTAL},
        _FULL_DECISION | {"prune_ratio": SKIP},
    ),
)


class FourMGenerator:
    """A chain of image-like targets, one decoding step a stage.

    A decision sets for one step:

    | field | what it does |
    |---|---|
    | `prune_ratio` | the share of the tokens that are due which waits for the next step: how many \
are made at once; 1.0 skips the step, and the next one makes them all |
    | `guidance` | whether the pass without the conditions runs (it may come back later) |
    | `encoder` | `full`; `incremental`: only tokens that are new are encoded, looking at what was \
kept of the others; `reuse`: nothing is encoded, the decoder looks at what was kept |

    The last step of a target makes all that is due. `incremental` and `reuse` need a pass that ran
    before and saw nothing that is hidden now (with growing conditions the pass without them starts
    anew at each target). Noise belongs to (seed, modality, position), likewise the order.

    Args:
        model: frozen.
        task: from what to what.
        read: makes conditions of what a user writes as a prompt; see `request`.

    Raises:
        ConfigError: settings that do not fit the model, or a text-like target: how long a text
            gets, and so what it costs, is known only when it is made. `generate` makes those.
    """

    output_kind = "tokens"
    decision_space = DECISIONS

    def __init__(
        self, model: FourM, task: Task, read: Callable[[str], Mapping[str, Entry]] | None = None
    ):
        self.model, self.task, self._read = model, task, read
        outputs = model.config.outputs
        for name in task.target_domains:
            if name in outputs and outputs[name].type in TEXT_LIKE:
                raise ConfigError(
                    f"{name!r} is text: its steps cannot be controlled, because what they cost is "
                    "known only afterwards. Make it with fourm_backend.generate.generate"
                )
        if task.multi_guided:
            raise ConfigError(
                "cfg_scales has a weight for each condition; steps under control take one number "
                "a target"
            )
        unknown = [name for name in task.cond_domains if name not in model.config.inputs]
        if unknown:
            known = sorted(model.config.inputs)
            raise ConfigError(f"cond_domains has {unknown}; this model takes {known}")
        schedule = task.schedule(outputs)
        self.stepper = Stepper(model, schedule, task.top_k, task.top_p)
        self.max_stages = len(schedule)
        width = model.config.architecture.dim
        self.feature_names = feature_names(task.target_domains, width)
        self.fingerprint = fingerprint(model, task)
        self._projection = condition_projection(width)
        self.costs = StepCosts(self.stepper, task)

    def request(self, prompt: str, seed: int = 0) -> TokenRequest:
        """What a prompt stands for; see `fourm_backend.prompts.read_prompt`.

        Raises:
            DataError: a prompt that cannot be used.
        """
        if self._read is None:
            raise DataError(
                f"prompt {prompt!r}: this generator was made without a reader of prompts; pass "
                "TokenRequest objects"
            )
        return TokenRequest(prompt, self._read(prompt), seed)

    def stages(self, request: TokenRequest) -> tuple[Stage, ...]:
        """The steps, named `TARGET.NUMBER`; costs depend on how much is given."""
        self._check(request)
        return self.costs.stages(self._visible(request))

    def _visible(self, request: TokenRequest) -> tuple[int, ...]:
        """Visible tokens of each condition."""
        entries = (request.inputs[name] for name in self.task.cond_domains)
        return tuple(int((~entry["input_mask"]).sum()) for entry in entries)

    def fixed_cost(self, request: TokenRequest) -> float:
        """Pixels and vectors are projected once; text that guidance emptied as well."""
        self._check(request)
        lengths = [request.inputs[n]["input_mask"].shape[1] for n in self.task.cond_domains]
        return self.costs.fixed(lengths)

    def begin(self, requests: Sequence[TokenRequest]) -> TokenState:
        """A state for B requests; what does not change from step to step is projected.

        Raises:
            DataError: a request that lacks a condition, or has one that the task does not take.
        """
        return TokenState(tuple(self._first_row(request) for request in requests), self.max_stages)

    @torch.no_grad()
    def _first_row(self, request: TokenRequest) -> Row:
        self._check(request)
        device = self.model.mask_token.device
        given: dict[str, Entry] = {}
        emptied: dict[str, Entry] = {}
        sums = [self.model.mask_token.new_zeros(1, self.model.mask_token.shape[-1])]
        for name in self.task.cond_domains:
            modality = self.model.config.inputs[name]
            entry = {key: value.to(device) for key, value in request.inputs[name].items()}
            given[name] = self._projected(modality, entry)
            left: Entry = empty_condition(modality, entry)
            emptied[name] = self._projected(modality, left) if left_visible(modality) else left
            content, _ = embed(self.model, name, given[name])
            sums.append(content[0][~entry["input_mask"][0]])
        targets = {
            name: empty_target(self.model.config.outputs[name], 1, device=str(device))
            for name in self.task.target_domains
        }
        return Row(request, given, emptied, targets, torch.cat(sums).mean(0))

    def _projected(self, modality: Modality, entry: Entry) -> Entry:
        if modality.kind not in ("image_pixels", "sequence_embeddings"):
            return entry
        return {**entry, "content": self.model.input(modality.name).content(entry["tensor"])}

    def _check(self, request: TokenRequest) -> None:
        if set(request.inputs) != set(self.task.cond_domains):
            raise DataError(
                f"request {request.label!r} gives {sorted(request.inputs)}; the task takes "
                f"{sorted(self.task.cond_domains)}"
            )
        for name, entry in request.inputs.items():
            if entry["input_mask"].shape[0] != 1:
                raise DataError(f"request {request.label!r}: {name} has to be one row")

    def allowed(self, state: TokenState, decisions: Sequence[Decision]) -> np.ndarray:
        """[B, n] bool; see the class for what is forbidden."""
        complete = [self.decision_space.complete(decision) for decision in decisions]
        table = [[self._forbids(row, each) == "" for each in complete] for row in state.rows]
        return np.array(table, dtype=bool).reshape(len(state.rows), len(complete))

    def _forbids(self, row: Row, decision: Decision) -> str:
        """Why a row may not take a decision; empty where it may."""
        if row.stage >= self.max_stages:
            return ""
        if decision["prune_ratio"] > 0 and self.stepper.is_last_of_target(row.stage):
            return "the last step of a target makes all that is left"
        if decision["prune_ratio"] == SKIP or decision["encoder"] == FULL:
            return ""
        passes = range(self.stepper.passes(row, decision))
        if not all(self.stepper.usable(row, branch) for branch in passes):
            return "there is no earlier encoding that can still be used; the encoder has to be full"
        return ""

    def cost(self, state: TokenState, decisions: Sequence[Decision]) -> np.ndarray:
        """[B] float64 FLOPs of the next step of each row under its own decision."""
        costs = [
            self.costs.of(row, self.decision_space.complete(decision))
            for row, decision in zip(state.rows, decisions, strict=True)
        ]
        return np.array(costs, dtype=np.float64)

    def advance(self, state: TokenState, decisions: Sequence[Decision]) -> TokenState:
        """One step of each row that is not done.

        Raises:
            GenerationError: a decision that `allowed` forbids, or logits that are not finite.
        """
        complete = [self.decision_space.complete(decision) for decision in decisions]
        for number, (row, decision) in enumerate(zip(state.rows, complete, strict=True)):
            reason = self._forbids(row, decision)
            if reason:
                raise GenerationError(
                    f"row {number} ({row.request.label!r}), step {row.stage}: {decision} is not "
                    f"allowed: {reason}. Ask `allowed` first"
                )
        rows = list(state.rows)
        going = [index for index, done in enumerate(state.done) if not done]
        moved = self.stepper.advance([rows[i] for i in going], [complete[i] for i in going])
        for index, row in zip(going, moved, strict=True):
            rows[index] = row
        return TokenState(tuple(rows), self.max_stages)

    def fork(self, state: TokenState, rows: Sequence[int]) -> TokenState:
        """Rows copied, dropped or repeated; what they hold is shared."""
        return TokenState(tuple(state.rows[row] for row in rows), self.max_stages)

    def join(self, states: Sequence[TokenState]) -> TokenState:
        """States side by side."""
        return TokenState(tuple(row for state in states for row in state.rows), self.max_stages)

    def features(self, state: TokenState) -> np.ndarray:
        """[B, F] float32; columns in `fourm_backend/features.py`."""
        targets = self.task.target_domains
        columns = [row_features(self.stepper, r, targets, self._projection) for r in state.rows]
        return np.stack(columns) if columns else np.zeros((0, len(self.feature_names)), np.float32)

    def preview(self, state: TokenState, rows: Sequence[int] | None = None) -> list[np.ndarray]:
        """Tokens of all targets, one after the other; -1 where they are not made yet."""
        chosen = range(len(state.rows)) if rows is None else rows
        return [self._tokens(state.rows[row]) for row in chosen]

    def finish(self, state: TokenState) -> list[np.ndarray]:
        """The same of the rows that are done."""
        return self.preview(state, np.flatnonzero(state.done).tolist())

    def _tokens(self, row: Row) -> np.ndarray:
        parts = []
        for name in self.task.target_domains:
            entry = row.targets[name]
            parts.append(torch.where(entry["target_mask"], entry["tensor"], -1)[0])
        return torch.cat(parts).cpu().numpy().astype(np.int64)

    def embeddings(self, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """[L * K] of each output: its tokens as vectors of length 1, target by target."""
        return [self._vectors(output) for output in outputs]

    def _vectors(self, output: np.ndarray) -> np.ndarray:
        parts = []
        for name, tokens in self.tokens_by_target(output).items():
            vectors = self.table_of(name)[torch.tensor(tokens)]
            parts.append(F.normalize(vectors.float(), dim=-1).flatten())
        return torch.cat(parts).cpu().numpy()

    def table_of(self, name: str) -> torch.Tensor:
        """[V, K] vectors of a target's tokens: those of the model's head."""
        return self.model.target(name).to_logits.weight

    def tokens_by_target(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """An output, taken apart into its targets."""
        lengths = [self.model.config.outputs[n].num_positions for n in self.task.target_domains]
        parts = np.split(tokens, np.cumsum(lengths)[:-1])
        return dict(zip(self.task.target_domains, parts, strict=True))


def fingerprint(model: FourM, task: Task) -> str:
    """Hash of weights, settings and number type."""
    digest = hashlib.sha256(config_json(model.config).encode())
    digest.update(task.to_json().encode())
    hash_weights(digest, model)
    return digest.hexdigest()[:16]


def hash_weights(digest: Any, module: torch.nn.Module) -> None:
    """Let a digest take in all weights."""
    for name, value in module.state_dict().items():
        digest.update(f"{name}/{value.dtype}".encode())
        digest.update(_bytes(value))


def _bytes(value: Any) -> Any:
    return value.detach().cpu().contiguous().view(torch.uint8).numpy().data
