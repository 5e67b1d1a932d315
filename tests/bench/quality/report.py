"""The bench's answer: one dictionary for programs, the same as Markdown for people, and its place in the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.storage import replace_atomically
from tests.bench.quality.measured_heads import MEASURED

BEGIN, END = "<!-- quality -->", "<!-- /quality -->"
_LESS_IS_BETTER = ("log_loss",)


def markdown(report: Mapping[str, Any]) -> str:
    """The tables, our losses printed like our wins."""
    parts = [_headline(report), *(f"**{warning}**" for warning in report["warnings"])]
    parts += ["\n".join(_table(report, "AUC / log loss", _auc_and_loss))]
    parts += ["\n".join(_table(report, "frozen AUC / NDCG@10 / ECE (chance)", _frozen_and_calibration, cost=False))]
    parts += [f"{name} not run: {reason}." for name, reason in report["not_run"].items()]
    parts += ["\n".join(_differences(name, others)) for name, others in report["differences"].items()]
    parts += [*report["notes"], _reading(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_into(text: str, readme: Path) -> None:
    """Replace what stands between BEGIN and END. Raises ValueError where the two are not there, in this order, once each."""
    content = readme.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1 or content.index(BEGIN) > content.index(END):
        raise ValueError(f"{readme} has no place for the table: put the lines {BEGIN} and {END} where it belongs")
    before, after = content[: content.index(BEGIN) + len(BEGIN)], content[content.index(END) :]
    with replace_atomically(readme) as temporary:
        temporary.write_text(f"{before}\n{text}{after}", encoding="utf-8")


def verdicts(differences: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(our model, other model, head, "ahead", "behind" or "even") by the interval of the AUC's difference."""
    for name, others in differences.items():
        for other, heads in others.items():
            for head, found in heads.items():
                if found["auc"] is not None:
                    yield name, other, head, _verdict(found["auc"])


def _verdict(found: Mapping[str, float]) -> str:
    if found["low"] > 0:
        return "ahead"
    return "behind" if found["high"] < 0 else "even"


def _headline(report: Mapping[str, Any]) -> str:
    data = report["data"]
    share = "" if data["user_share"] == 1 else f" of a {data['user_share']:.0%} sample of users"
    seeds = "one seed" if len(report["seeds"]) == 1 else f"mean of {len(report['seeds'])} seeds"
    return (
        f"{data['test_rows']:,} exposures of {data['test_users']:,} users{share} on {data['test_days'][0]} and "
        f"{data['test_days'][1]}, learned from {data['train_rows']:,} of the days before; {seeds}, {report['threads']} threads."
    )


def _table(report: Mapping[str, Any], title: str, cell, *, cost: bool = True) -> Iterator[str]:
    yield "| " + " | ".join([f"{title}", *MEASURED, *(["reads", "fit (s)"] if cost else [])]) + " |"
    yield "|" + "---|" * (1 + len(MEASURED) + 2 * cost)
    for name, model in report["models"].items():
        cells = [cell(model["heads"][head]) for head in MEASURED]
        yield "| " + " | ".join([name, *cells, *([model["reads"], f"{model['fit_s']:.0f}"] if cost else [])]) + " |"


def _auc_and_loss(figures: Mapping[str, Any]) -> str:
    spread = (figures["auc"] or {}).get("spread")
    beside = "" if not spread else f" (±{_short(spread / 2)})"
    return f"{_mean(figures, 'auc')}{beside} / {_mean(figures, 'log_loss')}"


def _frozen_and_calibration(figures: Mapping[str, Any]) -> str:
    error = f"{_mean(figures, 'ece')} ({_mean(figures, 'ece_floor')})"
    return f"{_mean(figures, 'auc_frozen')} / {_mean(figures, 'ndcg_at_10_frozen')} / {error}"


def _differences(name: str, others: Mapping[str, Any]) -> Iterator[str]:
    yield "| " + " | ".join([f"AUC of the {name} minus that of", *MEASURED]) + " |"
    yield "|" + "---|" * (1 + len(MEASURED))
    for other, heads in others.items():
        yield "| " + " | ".join([other, *(_difference(heads[head]["auc"]) for head in MEASURED)]) + " |"


def _difference(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "-"
    word = {"ahead": "", "behind": " **behind**", "even": " even"}[_verdict(found)]
    return f"{_signed(found['difference'])} [{_signed(found['low'])}, {_signed(found['high'])}]{word}"


def _reading(report: Mapping[str, Any]) -> str:
    chance = " / ".join(_short(value) for value in report["ndcg_of_chance"].values())
    return (
        "State is as of each row's own millisecond; frozen: as of the user's first row of the day. ECE (chance): 15 equal-mass "
        "bins, and what a perfectly calibrated model would show on as many rows. ± is half the distance between the best and "
        "the worst seed. Intervals resample users (95 %), each draw compares means over the seeds, and a difference is even "
        "where its interval holds 0. "
        f"Random scores have an NDCG@10 of {chance}. Peers that read no features give one score, mapped to each action by a "
        f"logistic map; their AUC is that of the score alone. {report['search']}"
    )


def _mean(figures: Mapping[str, Any], name: str) -> str:
    return "-" if figures[name] is None else _short(figures[name]["mean"])


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}".replace("0.", ".", 1)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)
