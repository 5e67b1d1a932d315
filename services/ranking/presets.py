"""The heavy rankers there are, by name: what a training asks for and what a bundle says it holds."""

from __future__ import annotations

from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import TableBits
from services.ranking.masknet import MaskNet, MaskNetConfig

RankerConfig = HeavyConfig | MaskNetConfig
Ranker = HeavyRanker | MaskNet

_KINDS: dict[str, tuple[type[HeavyConfig] | type[MaskNetConfig], type[HeavyRanker] | type[MaskNet]]] = {
    "isolation_transformer": (HeavyConfig, HeavyRanker),
    "masknet": (MaskNetConfig, MaskNet),
}
PRESETS = tuple(_KINDS)
DEFAULT = PRESETS[0]


class UnknownPreset(ValueError):
    """There is no heavy ranker of that name."""


def ranker_config(preset: str, widths: dict[str, int], bits: TableBits | None = None) -> RankerConfig:
    """The preset's sizes for blocks of `widths` columns and rows encoded with `bits`. Raises UnknownPreset."""
    return _kind(preset)[0](widths, bits=bits or TableBits())


def build(config: RankerConfig) -> Ranker:
    """A ranker of that config, its weights drawn."""
    return _kind(preset_of(config))[1](config)


def preset_of(config: RankerConfig) -> str:
    return next(name for name, (kind, _) in _KINDS.items() if isinstance(config, kind))


def as_json(config: RankerConfig) -> dict:
    return {"preset": preset_of(config), **config.as_json()}


def from_json(content: dict) -> RankerConfig:
    """What `as_json` gave. Raises UnknownPreset."""
    sizes = {name: value for name, value in content.items() if name != "preset"}
    return _kind(content.get("preset", DEFAULT))[0].from_json(sizes)


def _kind(preset: str) -> tuple:
    if preset not in _KINDS:
        raise UnknownPreset(f"there is no ranker preset {preset!r}; choose one of {', '.join(PRESETS)}")
    return _KINDS[preset]
