"""The aggregate catalogue: families x measures x statistics x windows, every feature with its name, meaning and owner.

A family's features have a fixed order, `features_of`: it is the order of the columns of `features.feature_vectors`.
Names read `<family>.<measure>.<statistic>[.<window>]`, as in `user_author.like.rate.7d`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from feature_repo.aggregates import beliefs
from feature_repo.aggregates.families import FAMILIES, FAMILY_OF, Family
from feature_repo.aggregates.measures import COUNTED, UNDATED, VALUED, WINDOWS, Window
from feature_repo.aggregates.phrases import MEETINGS, action_of, counterpart, one, phrase
from feature_repo.aggregates.statistics import DISTINCT, EXPOSURE, STATISTICS, Statistic

DTYPE = "float32"
LONGER = dict(pairwise(WINDOWS))  # the window that a trend compares with
UNDATED_OF = {action: measure for measure, action in UNDATED.items()}


@dataclass(frozen=True)
class Feature:
    """One number about one key at one moment."""

    name: str
    description: str
    dtype: str
    owner: str
    family: str
    measure: str
    statistic: str
    window: str | None  # None: over all time
    unit: str
    formula: str  # in words


def belief(measure: str) -> float:
    """What a rate or a mean of `measure` falls back to where little was seen: events per impression, or seconds."""
    return beliefs.MEANS_S[measure] if measure in VALUED else beliefs.RATES[action_of(measure).value]


def rate_parts(family: Family, measure: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Measures whose totals are the events and the impressions of a lifetime rate.

    Where undated events of an action are known, a lifetime counts both kinds, over both kinds of impressions.
    """
    if measure in UNDATED:
        return (measure,), (EXPOSURE,)
    if measure in UNDATED_OF and family.undated:
        return (measure, UNDATED_OF[measure]), ("impression", EXPOSURE)
    return (measure,), ("impression",)


@cache
def features_of(family: Family | str) -> tuple[Feature, ...]:
    """All features of a family, in the order of its vector. Raises ValueError for a family that is not declared."""
    if isinstance(family, str):
        if family not in FAMILY_OF:
            raise ValueError(f"no family {family!r}; the families are {', '.join(FAMILY_OF)}")
        return features_of(FAMILY_OF[family])
    declared = (
        _feature(family, measure, statistic, window)
        for statistic in STATISTICS
        for measure in statistic.measures
        if family.undated or measure not in UNDATED
        for window in statistic.windows or (None,)
    )
    return (*declared, *_distinct_features(family))


@cache
def catalogue() -> tuple[Feature, ...]:
    """Every feature of every family."""
    return tuple(feature for family in FAMILIES for feature in features_of(family))


@cache
def _by_name() -> dict[str, Feature]:
    return {feature.name: feature for feature in catalogue()}


def find(name: str) -> Feature:
    """The feature of that name. Raises ValueError with the nearest names where there is none."""
    feature = _by_name().get(name)
    if feature is None:
        nearest = nearest_names(name)
        hint = f"the nearest are {', '.join(nearest)}" if nearest else "`mixer features search` finds one by words"
        raise ValueError(f"no feature {name!r}; {hint}")
    return feature


def nearest_names(name: str, count: int = 5) -> list[str]:
    """Names of features that look like `name`, the likest first."""
    import difflib

    return difflib.get_close_matches(name, _by_name(), count, cutoff=0.5)


def search(words: str) -> list[Feature]:
    """Features whose name and description hold all `words`, those with more of them in the name first."""
    asked = words.lower().split()
    found = [one for one in catalogue() if all(word in f"{one.name} {one.description}".lower() for word in asked)]
    return sorted(found, key=lambda feature: -sum(word in feature.name for word in asked))


def undocumented(features: Iterable[Feature]) -> list[str]:
    """What is missing in the documentation of `features`, a line a fault; empty if each can be told from all others."""
    faults, names, told = [], set(), {}
    for feature in features:
        faults += [
            f"{feature.name}: {field} is empty"
            for field in ("name", "description", "dtype", "owner", "family", "unit", "formula")
            if not getattr(feature, field).strip()
        ]
        if feature.name in names:
            faults.append(f"{feature.name}: two features have this name")
        names.add(feature.name)
        other = told.setdefault(feature.description, feature.name)
        if feature.description.strip() and other != feature.name:
            faults.append(f"{feature.name}: described in the same words as {other}")
    return faults


def _feature(family: Family, measure: str, statistic: Statistic, window: Window | None) -> Feature:
    fields = _fields(family, measure, window)
    return Feature(
        name=".".join([family.name, measure, statistic.name, *([window.name] if window else [])]),
        description=statistic.words.format(**fields),
        dtype=DTYPE,
        owner=family.owner,
        family=family.name,
        measure=measure,
        statistic=statistic.name,
        window=window.name if window else None,
        unit=statistic.unit,
        formula=statistic.formula.format(**fields),
    )


def _fields(family: Family, measure: str, window: Window | None) -> dict[str, str]:
    """What the words and formulas of statistics may speak of."""
    what = phrase(family, measure)
    fields = {"what": what, "What": what[0].upper() + what[1:], "measure": measure, "action": action_of(measure).value}
    if measure not in ("impression", EXPOSURE):
        fields["belief"] = f"{belief(measure):g}"
        events, exposures = rate_parts(family, measure)
        fields["events"] = " + ".join(f"{part}.total" for part in events)
        fields["exposures"] = " + ".join(f"{part}.total" for part in exposures)
    if window is not None:
        fields |= {"window": window.words, "short": window.name}
    if window in LONGER:
        longer = LONGER[window]
        fields |= {"longer": longer.words, "share": f"{window.span_us / longer.span_us:.4g}"}
    return fields


def _distinct_features(family: Family) -> Iterator[Feature]:
    for pair in family.distinct:
        other = counterpart(family, FAMILY_OF[pair])
        plural, words = MEETINGS[other]
        for measure in COUNTED:
            name = f"{DISTINCT}{plural}"
            yield Feature(
                name=f"{family.name}.{measure}.{name}",
                description=words.format(what=phrase(family, measure)),
                dtype=DTYPE,
                owner=family.owner,
                family=family.name,
                measure=measure,
                statistic=name,
                window=None,
                unit=plural,
                formula=f"keys of family {pair} with at least one {one(measure)}",
            )
