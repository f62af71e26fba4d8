"""The scorers by name, and which of them are taken."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from tunewright.core.errors import ConfigError
from tunewright.evaluation.scorers import behaviour, form, overlap
from tunewright.evaluation.scorers.base import Material, Metric, Scorer, always, each, on_demand
from tunewright.evaluation.scorers.own import embedding, own_scorer

_ENDLESS = (0.0, float("inf"))


def _prose(material: Material) -> bool:
    return material.prose


def _classes(material: Material) -> bool:
    return bool(material.labels)


SCORERS: Final[Mapping[str, Scorer]] = MappingProxyType(
    {
        "exact": Scorer(each(overlap.exact), always, binary=True),
        "label": Scorer(form.label, _classes, "labels", binary=True),
        "macro_f1": Scorer(
            form.macro_f1,
            lambda material: 0 < len(material.labels) <= form.MOST_CLASSES,
            "labels",
            total=form.mean_f1,
        ),
        "number": Scorer(form.number_match, lambda m: m.numeric, "numbers", binary=True),
        "json_match": Scorer(form.json_match, lambda m: m.json, "references in JSON", binary=True),
        "json_schema": Scorer(
            form.json_schema, lambda m: m.config.json_schema is not None, "a schema", binary=True
        ),
        "calls": Scorer(form.calls, lambda m: m.tools, "rows that offer functions", binary=True),
        "char_f1": Scorer(each(overlap.char_f1), always),
        "word_f1": Scorer(each(overlap.word_f1), lambda m: m.prose and m.chinese),
        "rouge_l": Scorer(each(overlap.rouge_l), _prose),
        "bleu": Scorer(overlap.bleu, _prose, total=overlap.corpus_bleu),
        "chrf": Scorer(overlap.chrf, _prose),
        "verbatim": Scorer(each(overlap.verbatim), on_demand, binary=True),
        "embedding": Scorer(
            embedding, lambda m: m.config.embedding is not None, "an embedding model"
        ),
        "required": Scorer(form.required, lambda m: _phrases(m, "required"), "phrases"),
        "forbidden": Scorer(
            form.forbidden, lambda m: _phrases(m, "forbidden"), "phrases", "lower", binary=True
        ),
        "perplexity": Scorer(
            behaviour.perplexity,
            lambda m: m.likely and not m.labels,
            "responders that run here, on one base",
            "lower",
            (1.0, float("inf")),
            total=behaviour.token_perplexity,
        ),
        "valid": Scorer(form.valid, _classes, "labels", binary=True),
        "length": Scorer(each(overlap.length), always),
        "length_ratio": Scorer(behaviour.length_ratio, on_demand, range=_ENDLESS),
        "refusal": Scorer(behaviour.refusal, _prose, "nothing", "lower", binary=True),
        "stop": Scorer(behaviour.stop, always, "nothing", binary=True),
    }
)
BASIC: Final = ("exact", "char_f1", "length", "stop")
"""What is asked of every answer, whatever the rows are."""


def _phrases(material: Material, kind: str) -> bool:
    if kind in material.phrased:
        return True
    if material.config.phrases is None:
        return False
    phrases = form.read_phrases(material.config.phrases, kind)
    return any(getattr(one, kind) for one in (phrases, *phrases.questions.values()))


def open_metrics(material: Material) -> tuple[Metric, ...]:
    """The scorers that the user named, or those that suit what is asked; then the user's own.

    ``exact``, ``char_f1``, ``length`` and ``stop`` are always among them: gates rest on them.

    Raises:
        ConfigError: an unknown scorer, or one that lacks what it needs.
    """
    known = dict(SCORERS)
    own: list[str] = []
    if material.config.scorer_file is not None:
        name, scorer = own_scorer(material.config.scorer_file)
        if name in known:
            raise ConfigError(
                f"option 'scorer_file': {name!r} is the name of a scorer that exists",
                "Give the function another name.",
            )
        known, own = {**known, name: scorer}, [name]
    asked = _asked(material, known)
    names = [name for name in known if name in {*asked, *BASIC, *own}]
    return tuple(Metric(name, known[name], known[name].open(material)) for name in names)


def basic_metrics() -> tuple[Metric, ...]:
    """The metrics of ``BASIC``, for probes whose references are short."""
    nothing = Material(())
    return tuple(Metric(name, SCORERS[name], SCORERS[name].open(nothing)) for name in BASIC)


def _asked(material: Material, known: Mapping[str, Scorer]) -> Sequence[str]:
    named = material.config.scorers
    if not named:
        return [name for name, scorer in known.items() if scorer.suits(material)]
    for name in named:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            raise ConfigError(
                f"option 'scorers': there is no scorer {name!r}"
                + (f"; did you mean {close[0]!r}?" if close else ""),
                f"Scorers: {', '.join(known)}",
            )
    missing = {
        "label": not material.labels,
        "macro_f1": not material.labels,
        "valid": not material.labels,
        "perplexity": not material.likely,
        "calls": not material.tools,
    }
    for name in named:
        if missing.get(name, False):
            raise ConfigError(
                f"scorer {name!r} needs {known[name].needs}", "Leave it out, or ask other models."
            )
    return named
