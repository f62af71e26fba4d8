"""Asking a responder, through the answers that it gave before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from tunewright.config.serving import GenerationConfig
from tunewright.core.events import Event, Listener
from tunewright.core.store import Store
from tunewright.evaluation.answers import Question, answered
from tunewright.evaluation.responders.base import Likely, Responder, Said
from tunewright.evaluation.responders.cache import AnswerCache, answer_key, likelihood_key
from tunewright.evaluation.responders.local import Local, Weights


@dataclass(frozen=True)
class Batch:
    """Questions that are asked in the same way.

    Attributes:
        name: of the set that they belong to.
        questions: what is asked.
        how: answers are drawn.
        weighed: whether to ask how likely the references are, too.
    """

    name: str
    questions: Sequence[Question]
    how: GenerationConfig
    weighed: bool = False


@dataclass
class Collected:
    """What one responder said, by set, in the order of its questions."""

    said: dict[str, list[Said]] = field(default_factory=dict)
    likely: dict[str, list[Likely]] = field(default_factory=dict)
    asked: int = 0
    """Answers that were not known before."""


class Collector:
    """Asks one responder, and remembers what it says.

    Args:
        responder: whom.
        store: in whose home answers are kept.
        total: questions in all, for the progress.
        batch_size: most that are asked at once.
        listen: hears ``progress`` events that name the responder.
    """

    def __init__(
        self, responder: Responder, store: Store, total: int, batch_size: int, listen: Listener
    ) -> None:
        self._responder = responder
        self._cache = AnswerCache(store.home, responder.digest)
        self._total = total
        self._batch_size = batch_size
        self._listen = listen
        self._done = self._shown = 0
        self.found = Collected()

    def ask(self, batches: Sequence[Batch]) -> Collected:
        """Everything that is not known yet is asked; sets asked in the same way go together.

        Raises:
            InputError: a question that cannot be asked.
            EndpointError: some got no answer; those that did are kept.
            StorageError: answers cannot be kept.
        """
        for how in dict.fromkeys(batch.how for batch in batches):
            self._ask([batch for batch in batches if batch.how == how], how)
        for batch in batches:
            if batch.weighed and isinstance(self._responder, Local):
                self.found.likely[batch.name] = self._weigh(self._responder, batch)
        return self.found

    def _ask(self, batches: Sequence[Batch], how: GenerationConfig) -> None:
        config = self._responder.settings(how)
        questions = [question for batch in batches for question in batch.questions]
        prompts = [self._responder.prompt(one.prompt, config.max_new_tokens) for one in questions]
        keys = [answer_key(prompt, config) for prompt in prompts]
        # A question that stands in several sets is asked once.
        missing = list(
            {key: n for n, key in enumerate(keys) if self._cache.get(key) is None}.values()
        )
        times = Counter(keys)
        self._tell(len(keys) - sum(times[keys[place]] for place in missing))

        def keep(answers: Sequence[tuple[int, Said]]) -> None:
            fresh = [(keys[missing[place]], said.values()) for place, said in answers]
            self._cache.add(fresh)
            self.found.asked += len(fresh)
            self._tell(sum(times[key] for key, _ in fresh))

        if missing:
            asked = [prompts[place] for place in missing]
            self._responder.answer(asked, config, self._batch_size, keep, self._show)
        said = [Said.kept(self._cache.get(key) or {}) for key in keys]
        for batch in batches:
            count = len(batch.questions)
            self.found.said[batch.name], said = said[:count], said[count:]

    def _weigh(self, responder: Local, batch: Batch) -> list[Likely]:
        room = batch.how.max_new_tokens
        rows = [
            answered(responder.prompt(one.prompt, room), one.turn or one.reference)
            for one in batch.questions
        ]
        keys = [likelihood_key(row) for row in rows]
        missing = [n for n, key in enumerate(keys) if self._cache.get(key) is None]

        def keep(found: Sequence[tuple[int, Likely]]) -> None:
            if found:
                self._cache.add([(keys[missing[place]], asdict(one)) for place, one in found])

        if missing:
            responder.weigh([rows[place] for place in missing], keep)
        return [Likely(**(self._cache.get(key) or {})) for key in keys]

    def _tell(self, answered: int) -> None:
        self._done += answered
        self._show(0)

    def _show(self, more: int) -> None:
        stage = f"asking {self._responder.reference}"
        # The same question in several sets is answered once.
        done = min(self._done + more, self._total)
        if done > self._shown:
            self._shown = done
            data = {"stage": stage, "done": done, "total": self._total}
            self._listen(Event(kind="progress", data=data))


def in_turn(
    responders: Sequence[Responder],
    weights: Sequence[Weights],
    collect: Callable[[Responder], Collected],
) -> dict[str, Collected]:
    """Ask everybody, those on the same weights one after another, and free weights in between.

    Returns what each said by reference, in the order of ``responders``.
    """
    found: dict[str, Collected] = {}
    for shared in (*weights, None):
        for responder in responders:
            if (responder.weights if isinstance(responder, Local) else None) is shared:
                found[responder.reference] = collect(responder)
        if shared is not None:
            shared.free()  # Makes room for the next base.
    return {responder.reference: found[responder.reference] for responder in responders}
