"""``chat``: talk to a model, or to two at once."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tunewright.cli.display import Terminal
from tunewright.cli.live import inert
from tunewright.cli.options import Common, common_options, config_options
from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import InputError
from tunewright.core.messages import Conversation, Message
from tunewright.core.records import Model
from tunewright.core.store import Store
from tunewright.model.deployed import Named, named

if TYPE_CHECKING:
    from tunewright.model.generation import Answer, TextModel


_MOST_CLASSES = 12  # named in a hint


@click.command(
    epilog="Example: tunewright chat latest --compare nano --prompt 房东不退押金怎么办？"
)
@click.argument("model")
@click.option("--prompt", help="Ask this once and stop; '-' reads it from standard input.")
@click.option("--compare", metavar="OTHER", help="Ask a second model the same.")
@click.option("--system", help="A system message.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@config_options(GenerationConfig)
@common_options
def chat(
    common: Common,
    model: str,
    prompt: str | None,
    compare: str | None,
    system: str | None,
    device: str,
    values: dict[str, Any],
) -> None:
    """Talk to MODEL: a base, a tuned model (name, id or 'latest'), a checkpoint RUN@STEP, or a
    deployment: then to its model, with its system prompt and settings, and to none in its place.

    Without --prompt a conversation begins; an empty line or Ctrl-D ends it, /new starts afresh.
    """
    config = GenerationConfig.build(values)
    if prompt is not None:
        prompt = (sys.stdin.read() if prompt == "-" else prompt).strip()
        if not prompt:
            raise InputError("the prompt is empty", 'Example: --prompt "你好"')
    from tunewright.model.generation import load_many

    store = common.store()
    found = [named(store, name) for name in ([model] if compare is None else [model, compare])]
    names = [one.reference for one in found]
    for one in found:
        if one.deployed:
            told = f"{one.name} is a deployment; its model answers, with its prompt and settings."
            click.echo(told, err=True)
    with Terminal() as terminal:
        models = load_many(store, names, device, terminal)
    if not config.choices:
        _name_classes(store, names)
    speakers = [_Speaker(*both) for both in zip(found, models, strict=True)]
    opening = (Message(role="system", content=system),) if system else ()
    if prompt is None:
        _converse(speakers, opening, config)
        return
    question = Conversation(messages=(*opening, Message(role="user", content=prompt)))
    several = len(names) > 1
    answers = [_say(s, question, config, several, stdout=not common.as_json) for s in speakers]
    if common.as_json:
        click.echo(json.dumps(_result(speakers, answers), ensure_ascii=False))


class _Speaker(NamedTuple):
    """Who answers, and in which manner."""

    named: Named
    model: TextModel

    @property
    def name(self) -> str:
        """As shown: a deployment's own, or the model's."""
        return self.named.name if self.named.deployed else self.model.name


def _name_classes(store: Store, names: list[str]) -> None:
    """Say how to hold a model to the classes that it learnt, if it learnt some."""
    for name in names:
        found = store.find(Model, name)
        if found is not None and found.labels:
            some = ",".join(found.labels[:_MOST_CLASSES])
            more = ",…" if len(found.labels) > _MOST_CLASSES else ""
            text = f"{found.name} learnt classes; hold it to them: --choices {some}{more}"
            click.echo(inert(text, 1000), err=True)
            return


def _converse(
    speakers: list[_Speaker], opening: tuple[Message, ...], config: GenerationConfig
) -> None:
    histories = [opening for _ in speakers]
    while True:
        try:
            text = click.prompt("you", default="", show_default=False, err=True).strip()
        except click.Abort:
            click.echo(err=True)
            return
        if not text:
            return
        if text == "/new":
            histories = [opening for _ in speakers]
            continue
        for index, speaker in enumerate(speakers):
            asked = (*histories[index], Message(role="user", content=text))
            answer = _say(speaker, Conversation(messages=asked), config, True)
            histories[index] = (*asked, Message(role="assistant", content=answer.text))


def _say(
    speaker: _Speaker,
    question: Conversation,
    config: GenerationConfig,
    several: bool,
    stdout: bool = True,
) -> Answer:
    """Print the answer as it comes (to stdout, so that it can be piped) and return it."""
    if several:
        click.secho(f"{speaker.name}: ", fg="cyan", nl=False, err=True)
    manner = speaker.named.manner
    stream = speaker.model.stream(manner.prompt(question), manner.settings(config))
    while True:
        try:
            click.echo(next(stream), nl=False, err=not stdout)
        except StopIteration as end:
            click.echo(err=not stdout)
            answer: Answer = end.value
            return answer


def _result(speakers: list[_Speaker], answers: list[Answer]) -> dict[str, Any]:
    results = [
        {
            "model": speaker.name,
            **({"served_by": speaker.model.name} if speaker.named.deployed else {}),
            "text": answer.text,
            "usage": {
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
            },
            "finish_reason": answer.finish_reason,
        }
        for speaker, answer in zip(speakers, answers, strict=True)
    ]
    return results[0] if len(results) == 1 else {**results[0], "compare": results[1]}
