"""Making a session: which questions, in which order, on which sides."""

from __future__ import annotations

import random
import secrets
from collections import defaultdict
from collections.abc import Sequence

from tunewright import __version__
from tunewright.config.judging import BlindConfig
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.events import ignore
from tunewright.core.files import write_json_atomic, write_text_atomic
from tunewright.core.messages import Split
from tunewright.core.records import Dataset, Evaluation
from tunewright.core.store import Store
from tunewright.evaluation.answers import Question
from tunewright.evaluation.asking import dataset_questions
from tunewright.evaluation.blind.page import offline_page
from tunewright.evaluation.blind.session import ITEMS, OFFLINE, BlindSession, Item, Turn
from tunewright.evaluation.evaluate import read_outputs

_ID_BITS = 48
_Pair = tuple[Question, str, str]


def create_session(config: BlindConfig, store: Store) -> BlindSession:
    """Make a session from an evaluation's answers, with its offline page.

    Questions are drawn at random, one of every group before a second one of any, among those
    whose two answers differ. Their order and sides come from a seed that only the home knows.

    Raises:
        NotFoundError: there is no such evaluation.
        ConfigError: a model that it did not ask.
        DataError: the two never differ.
    """
    evaluation = store.get(Evaluation, config.evaluation)
    models = _two(config, evaluation)
    seed = secrets.token_hex(16)
    pairs = _pairs(store, evaluation, models)
    differing = [pair for pair in pairs if pair[1].strip() != pair[2].strip()]
    if not differing:
        raise DataError(
            f"{models[0]} and {models[1]} answered every question of {evaluation.id} the same",
            "There is nothing to vote on. Name two others with --models.",
        )
    items = _items(_drawn(differing, config.questions, seed), config.reference, seed)
    record = BlindSession(
        id=Store.new_id(BlindSession),
        version=__version__,
        evaluation=evaluation.id,
        models=models,
        questions=len(items),
        equal=len(pairs) - len(differing),
        token=secrets.token_urlsafe(24),
        seed=seed,
        language=store.settings.language,
    )
    with store.stage(BlindSession, record.id) as folder:
        write_json_atomic(folder / ITEMS, [item.model_dump() for item in items])
        public = [item.public() for item in items]
        write_text_atomic(folder / OFFLINE, offline_page(record.id, public, record.language))
    store.add(record)
    return record


def _two(config: BlindConfig, evaluation: Evaluation) -> tuple[str, str]:
    names = config.models or (evaluation.models[0], evaluation.models[-1])
    for name in names:
        if name not in evaluation.models:
            raise ConfigError(
                f"option 'models': {evaluation.id} did not ask {name!r}",
                f"It asked {', '.join(evaluation.models)}.",
            )
    if names[0] == names[1]:
        raise ConfigError(
            f"{evaluation.id} asked only {names[0]}; two are needed",
            "Run tunewright evaluate with two --models first.",
        )
    return names[0], names[1]


def _pairs(store: Store, evaluation: Evaluation, models: tuple[str, str]) -> list[_Pair]:
    """Every question with both answers, the baseline's first."""
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for line in read_outputs(store.folder(Evaluation, evaluation.id)):
        said[line["row"]][line["responder"]] = line["answer"]
    dataset = store.get(Dataset, evaluation.dataset)
    split: Split = "dev" if evaluation.config.get("checkpoints") else "test"
    asked = {one.id: one for one in dataset_questions(store, dataset, split, None, ignore, True)}
    baseline, challenger = models
    return [
        (asked[row], answers[baseline], answers[challenger])
        for row, answers in said.items()
        if row in asked and baseline in answers and challenger in answers
    ]


def _drawn(pairs: Sequence[_Pair], count: int, seed: str) -> list[_Pair]:
    """``count`` pairs at random: one of every group, then a second one of every group …"""
    shuffled = list(pairs)
    random.Random(f"questions {seed}").shuffle(shuffled)
    seen: dict[str, int] = defaultdict(int)
    ranked = []
    for place, pair in enumerate(shuffled):
        ranked.append((seen[pair[0].group], place))
        seen[pair[0].group] += 1
    chosen = sorted(place for _, place in sorted(ranked)[:count])
    return [shuffled[place] for place in chosen]


def _items(pairs: Sequence[_Pair], reference: bool, seed: str) -> list[Item]:
    """Half of the challenger's answers are shown first, whichever half it is."""
    draw = random.Random(f"sides {seed}")
    sides = [place % 2 == 1 for place in range(len(pairs))]
    draw.shuffle(sides)
    items = []
    for (question, base, other), flipped in zip(pairs, sides, strict=True):
        turns = tuple(Turn(role=m.role, text=m.content) for m in question.prompt.messages)
        a, b = (other, base) if flipped else (base, other)
        items.append(
            Item(
                id=f"{draw.getrandbits(_ID_BITS):012x}",
                row=question.id,
                group=question.group,
                turns=turns,
                reference=question.reference if reference else None,
                a=a.strip(),
                b=b.strip(),
                flipped=flipped,
            )
        )
    return items
