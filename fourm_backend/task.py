"""From what to what, and how: one chain of targets with its settings."""

import contextlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from base.errors import ConfigError, DataError
from fourm_backend.guidance import Scale
from fourm_backend.modalities import IMAGE_LIKE, Modality
from fourm_backend.schedule import Step, build_chained_generation_schedules

_MANTISSA = re.compile(r"(^|:|-)(\d+\.?\d*|\.\d+)[eE]$", re.ASCII)
_PER_TARGET = (
    "tokens_per_target",
    "autoregression_schemes",
    "decoding_steps",
    "token_decoding_schedules",
    "temps",
    "temp_schedules",
    "cfg_scales",
    "cfg_schedules",
)


@dataclass(frozen=True)
class Task:
    """Settings of a chain; names and meanings are those of the published YAML files.

    Every list has one entry a target; see `build_chained_generation_schedules`. An entry of
    `cfg_scales` may itself be a list, with one weight for each condition; later targets have one
    weight more for each finished target before them.
    """

    cond_domains: tuple[str, ...]
    target_domains: tuple[str, ...]
    tokens_per_target: tuple[int | None, ...]
    autoregression_schemes: tuple[str, ...]
    decoding_steps: tuple[int | None, ...]
    token_decoding_schedules: tuple[str | None, ...]
    temps: tuple[float, ...]
    temp_schedules: tuple[str, ...]
    cfg_scales: tuple[Scale, ...]
    cfg_schedules: tuple[str, ...]
    cfg_grow_conditioning: bool = True
    top_p: float = 0.0
    top_k: int | float = 0.0
    cfg_grow_text: bool = False

    def __post_init__(self) -> None:
        every = (*self.cond_domains, *self.target_domains)
        twice = sorted({name for name in every if every.count(name) > 1})
        if twice or not self.target_domains:
            raise ConfigError(
                f"cond_domains {list(self.cond_domains)} and target_domains "
                f"{list(self.target_domains)}; expected one target or more, and no name twice"
                + (f" ({twice})" if twice else "")
            )
        if not 0.0 <= self.top_p <= 1.0 or not self.top_k >= 0:
            raise ConfigError(
                f"top_p is {self.top_p} and top_k {self.top_k}; expected top_p from 0 to 1 and "
                "top_k from 0"
            )
        self._check_weights()
        scales: list[float] = []
        for scale in self.cfg_scales:
            scales += scale if isinstance(scale, list) else [scale]
        for name, values in (("temps", self.temps), ("cfg_scales", scales)):
            low = 0.0 if name == "temps" else -math.inf
            if not all(math.isfinite(value) and value >= low for value in values):
                raise ConfigError(
                    f"{name} is {list(values)}; expected finite numbers"
                    + (" from 0" if name == "temps" else "")
                )

    @property
    def multi_guided(self) -> bool:
        """Whether guidance has a weight for each condition."""
        return any(isinstance(scale, list) for scale in self.cfg_scales)

    def _check_weights(self) -> None:
        if not self.multi_guided:
            return
        for number, (target, scale) in enumerate(
            zip(self.target_domains, self.cfg_scales, strict=True)
        ):
            wanted = len(self.cond_domains) + number
            if not isinstance(scale, list) or len(scale) != wanted:
                raise ConfigError(
                    f"cfg_scales has {scale!r} for {target}; where one target has a list of "
                    f"weights all have one, here of {wanted}: {list(self.cond_domains)} and the "
                    f"{number} targets before it"
                )

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Task":
        """Read settings as the YAML files have them.

        Lists may be real lists, or one text with hyphens (`6.0-0.5`); a list of one entry, or a
        single value, holds for every target. `null` and missing settings take the defaults of the
        published programs.

        Raises:
            ConfigError: an unknown setting, or an item that cannot be read; the message names it.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"unknown settings {unknown}; known are {sorted(known)}")
        given = {name: value for name, value in values.items() if value is not None}
        if "target_domains" not in given:
            raise ConfigError("target_domains is missing: what is to be made")
        targets = tuple(map(str, _items("target_domains", given["target_domains"])))
        lists: dict[str, Any] = {}
        for name in _PER_TARGET:
            items = _items(name, given.get(name, _DEFAULTS[name]))
            items = items * len(targets) if len(items) == 1 else items
            if len(items) != len(targets):
                raise ConfigError(
                    f"{name} has {len(items)} entries for {len(targets)} targets {list(targets)}"
                )
            lists[name] = tuple(_READERS[name](name, item) for item in items)
        grow: dict[str, Any] = {"cfg_grow_conditioning": True, "cfg_grow_text": False}
        grow |= {name: given[name] for name in grow if name in given}
        for name, value in grow.items():
            if not isinstance(value, bool):
                raise ConfigError(f"{name} is {value!r}; expected true or false")
        top_k = given.get("top_k", 0.0)
        return cls(
            tuple(map(str, _items("cond_domains", given.get("cond_domains", [])))),
            targets,
            **grow,
            top_p=float(_number("top_p", given.get("top_p", 0.0))),
            top_k=_number("top_k", top_k),
            **lists,
        )

    @classmethod
    def from_file(cls, path: str | Path) -> "Task":
        """Read a YAML file; entries that name a run (`name`) are passed over.

        Raises:
            DataError: no such file, or it is not YAML.
            ConfigError: see `from_values`.
        """
        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"settings {path} do not exist") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(f"settings {path} are not YAML: {error}") from None
        if not isinstance(values, dict):
            raise DataError(f"settings {path}: expected names and values")
        return cls.from_values({name: value for name, value in values.items() if name != "name"})

    def schedule(self, modalities: Mapping[str, Modality]) -> list[Step]:
        """The steps of the chain.

        Raises:
            ConfigError: settings that do not fit the modalities.
        """
        lengths = []
        for name, count in zip(self.target_domains, self.tokens_per_target, strict=True):
            if name not in modalities:
                raise ConfigError(f"target {name!r} is unknown; known are {sorted(modalities)}")
            whole = modalities[name].num_positions
            if count is not None and count < 1:
                raise ConfigError(f"tokens_per_target has {count} for {name}; expected 1 or more")
            if count not in (None, whole) and modalities[name].type in IMAGE_LIKE:
                raise ConfigError(
                    f"tokens_per_target has {count} for {name}, whose grid {modalities[name].grid} "
                    f"has {whole}"
                )
            lengths.append(whole if count is None else count)
        return build_chained_generation_schedules(
            self.cond_domains,
            self.target_domains,
            lengths,
            self.autoregression_schemes,
            self.decoding_steps,
            self.token_decoding_schedules,
            self.temps,
            self.temp_schedules,
            self.cfg_scales,
            self.cfg_schedules,
            self.cfg_grow_conditioning,
            modalities,
            cfg_grow_text=self.cfg_grow_text,
        )

    def to_json(self) -> str:
        """All settings, for fingerprints; `cfg_grow_text` came later and is left out where off."""
        values = asdict(self)
        if not self.cfg_grow_text:
            del values["cfg_grow_text"]
        return json.dumps(values, sort_keys=True)


_DEFAULTS: dict[str, Any] = {
    "tokens_per_target": [None],
    "autoregression_schemes": ["maskgit"],
    "decoding_steps": [25],
    "token_decoding_schedules": ["cosine"],
    "temps": [1.0],
    "temp_schedules": ["linear"],
    "cfg_scales": [4.0],
    "cfg_schedules": ["constant"],
}


def _items(name: str, value: Any) -> list[Any]:
    """A list as it is, a text split at its hyphens, anything else alone.

    A hyphen that begins a number (`-1.0`, `2.0--1.0`) or an exponent (`1e-3`) belongs to it.
    """
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, str):
        return [value]
    items: list[str] = []
    for part in value.split("-"):
        sign = bool(items) and items[-1] == ""
        exponent = bool(items) and _MANTISSA.search(items[-1]) and part[:1].isdigit()
        if sign or exponent:
            items[-1] += f"-{part}"
        else:
            items.append(part)
    if any(item in ("", "-") for item in items):
        raise ConfigError(f"{name} is {value!r}; expected items joined by hyphens, or a list")
    return list(items)


def _number(name: str, item: Any) -> int | float:
    """A whole number stays one: as a count it differs from a share."""
    if isinstance(item, str):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(item)
    elif isinstance(item, (int, float)) and not isinstance(item, bool):
        return item
    raise ConfigError(f"{name} has {item!r}; expected a number")


def _count(name: str, item: Any) -> int | None:
    if item is None or item in ("None", "null"):
        return None
    number = _number(name, item)
    if number != int(number):
        raise ConfigError(f"{name} has {item!r}; expected a whole number")
    return int(number)


def _float(name: str, item: Any) -> float:
    return float(_number(name, item))


def _scale(name: str, item: Any) -> Scale:
    if isinstance(item, (list, tuple)):
        return [_float(name, weight) for weight in item]
    return _float(name, item)


def _word(name: str, item: Any) -> str:
    return str(item)


def _scheme(name: str, item: Any) -> str:
    return str(item).lower()


_READERS: dict[str, Any] = {
    "tokens_per_target": _count,
    "autoregression_schemes": _scheme,
    "decoding_steps": _count,
    "token_decoding_schedules": _word,
    "temps": _float,
    "temp_schedules": _word,
    "cfg_scales": _scale,
    "cfg_schedules": _word,
}
