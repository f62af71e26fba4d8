"""Every family of the catalog, made in small: conversations, training and answers."""

from __future__ import annotations

import unicodedata
from array import array
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import write_json
from tests.model.family_bases import SPECIMENS, Specimen, write_base
from tests.model.family_chats import chats, plain
from tests.model.official import as_transformers
from tests.model.test_kv_cache import Reader
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunewright.config.serving import GenerationConfig
from tunewright.config.training import LoraConfig
from tunewright.core.messages import Conversation, conversation
from tunewright.core.settings import Settings
from tunewright.model.adapters import adapter_parameters, attach_lora
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.families import FAMILIES
from tunewright.model.generation import Shared, TextModel
from tunewright.model.lean_decoder import LeanDecoder
from tunewright.model.loading import load_model
from tunewright.model.rendering import Rendered, Renderer
from tunewright.model.shapes import shape_of
from tunewright.model.text_growth import TextGrowth, text_of
from tunewright.training.batches import Example, collate
from tunewright.training.losses import next_token_loss

CPU = torch.device("cpu")
QUESTIONS = [
    conversation(("user", text))
    for text in ("How long is the trial period?", "押金什么时候退?", "0123456789 " * 4)
]


@dataclass
class Made:
    """A specimen on disk."""

    name: str
    specimen: Specimen
    folder: Path

    @cached_property
    def renderer(self) -> Renderer:
        return Renderer(self.folder)

    @cached_property
    def base(self) -> Base:
        return resolve_base(str(self.folder), Settings(home=self.folder / "home", offline=True))

    @cached_property
    def _tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    def model(self) -> Any:
        return load_model(self.base, CPU, torch.float32)

    def reference(self) -> Any:
        """The same weights as transformers computes with them by itself, without fusing."""
        return AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def official(self, chat: Conversation, generate: bool = False) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            [as_transformers(message) for message in chat.messages],
            tools=[*chat.tools] or None,
            tokenize=True,
            add_generation_prompt=generate,
        )["input_ids"]
        return ids

    def text(self, ids: list[int]) -> str:
        return self.renderer.tokenizer.decode(ids, skip_special_tokens=False)


@pytest.fixture(scope="module", params=SPECIMENS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    specimen = SPECIMENS[request.param]
    folder = tmp_path_factory.mktemp("family") / request.param
    return Made(request.param, specimen, write_base(specimen, folder))


# The table --------------------------------------------------------------------------------------


def test_each_row_of_the_table_is_tested_as_it_says() -> None:
    rows = {family.key: family for family in FAMILIES}
    assert list(rows) == list(SPECIMENS)
    for key, specimen in SPECIMENS.items():
        row = rows[key]
        assert row.model_type == specimen.model_type
        assert set(row.ends) == {*specimen.ends, specimen.end}
        assert (row.system, row.tools) == (specimen.system, specimen.tools)


# Conversations ----------------------------------------------------------------------------------


def answers_of(rendered: Rendered) -> list[int]:
    """Places of the last supervised token of every answer."""
    mask = [*rendered.mask, 0]
    return [place for place in range(len(rendered.mask)) if mask[place] > mask[place + 1]]


def as_read(text: str) -> str:
    """Text in its normal form, as some tokenizers make it."""
    return unicodedata.normalize("NFC", text)


def check_answers(made: Made, chat: Conversation, rendered: Rendered) -> None:
    """What is learnt follows what is asked, and every answer ends."""
    renderer, asked = made.renderer, made.renderer.prompt_ids(chat)
    assert rendered.ids[: len(asked)] == asked
    assert rendered.mask[len(asked) - 1 : len(asked) + 1] == [0, 1]
    assert renderer.count(chat) == len(rendered.ids) == len(rendered.mask)
    ends = answers_of(rendered)
    assert len(ends) == sum(message.role == "assistant" for message in chat.messages)
    assert {rendered.ids[place] for place in ends} <= renderer.eos_ids
    assert made.text([rendered.ids[ends[-1]]]) == made.specimen.end
    starts = [n for n in range(1, len(asked) + 1) if rendered.mask[n - 1 : n + 1] == [0, 1]]
    if not chat.tools:
        # Every answer begins where the last one does, which is where the engine goes on.
        assert len({rendered.ids[start - 1] for start in starts}) == 1
    told = [m for m in chat.messages if m.role == "assistant"]
    for message, start, end in zip(told, starts, ends, strict=True):
        if "</think>" not in message.content:
            learnt = made.text(rendered.ids[start:end])
            assert as_read(message.content.strip()) in as_read(learnt)


def check_official(made: Made, chat: Conversation, rendered: Rendered) -> None:
    """Ids are those of transformers, besides an end token that a template leaves out."""
    asked = made.official(chat.prompt(), generate=True)
    assert made.renderer.prompt_ids(chat) == asked
    whole = made.official(chat)
    if made.specimen.forgets:
        whole = asked + whole[len(asked) - len(rendered.ids) :]
    added = [] if made.specimen.ended else [rendered.ids[-1]]
    assert rendered.ids == whole + added


def check_chats(made: Made, count: int) -> int:
    """As many ordinary conversations, and as many that spell control tokens; how many passed."""
    control = set(made.renderer.control_tokens)
    numbers = {made.renderer.tokenizer.token_to_id(text) for text in control}
    for chat in chats(made.specimen, count):
        rendered = made.renderer.render(chat)
        check_answers(made, chat, rendered)
        check_official(made, chat, rendered)
    for chat in chats(made.specimen, count, spelled=True):
        rendered = made.renderer.render(chat)
        check_answers(made, chat, rendered)
        harmless = made.renderer.render(plain(chat, made.specimen))
        obeyed, meant = (
            [token for token in one.ids if token in numbers] for one in (rendered, harmless)
        )
        assert obeyed == meant
    return 2 * count


def test_what_is_learnt_is_what_is_served(made: Made) -> None:
    assert check_chats(made, 30) == 60


@pytest.mark.slow
def test_what_is_learnt_is_what_is_served_in_many_conversations(made: Made) -> None:
    assert check_chats(made, 500) == 1000


def test_every_end_stops_an_answer(made: Made) -> None:
    ends = {made.text([token]) for token in made.renderer.eos_ids}
    assert ends == {*made.specimen.ends, made.specimen.end}
    # A single end, and one that only the tokenizer names, do as well.
    config = made.folder / "generation_config.json"
    kept = config.read_text(encoding="utf-8")
    write_json(config, {})
    alone = Renderer(made.folder).eos_ids
    config.write_text(kept, encoding="utf-8")
    assert alone <= made.renderer.eos_ids
    if made.specimen.ended:
        assert made.renderer.tokenizer.token_to_id(made.specimen.end) in alone


# Training ---------------------------------------------------------------------------------------


def examples_of(made: Made, count: int = 5) -> list[Example]:
    return [
        Example(number, array("i", rendered.ids), array("b", rendered.mask))
        for number, rendered in enumerate(made.renderer.render_many(chats(made.specimen, count)))
    ]


def padded_loss(model: Any, examples: list[Example]) -> float:
    """The mean loss that transformers gives for padded rows."""
    width = max(map(len, examples))
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    attention, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, example in enumerate(examples):
        ids[row, : len(example)] = torch.tensor(list(example.ids))
        attention[row, : len(example)] = 1
        learnt = torch.tensor(list(example.mask), dtype=torch.bool)
        labels[row, : len(example)][learnt] = ids[row, : len(example)][learnt]
    with torch.no_grad():
        return float(model(input_ids=ids, attention_mask=attention, labels=labels).loss)


def test_packed_equals_padded(made: Made) -> None:
    examples = examples_of(made)
    batch = collate(examples)
    with torch.no_grad():
        ours = float(next_token_loss(made.model(), batch)) / batch.supervised
    assert ours == pytest.approx(padded_loss(made.reference(), examples), abs=1e-5)


def test_a_lora_goes_to_every_linear_layer_and_learns(made: Made) -> None:
    model = made.model()
    shape = shape_of(model.config.to_dict())
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    chosen = attach_lora(model, LoraConfig(rank=4), seed=0)
    assert {path.rsplit(".", 1)[-1] for path in chosen} == set(made.specimen.targets.split())
    blocks = [path.split(".layers.")[1].split(".")[0] for path in chosen]
    assert set(blocks) == {"0", "1"}
    parameters = list(adapter_parameters(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=0.02)
    batch = collate(examples_of(made))
    losses = []
    for _ in range(4):
        loss = next_token_loss(model, batch) / batch.supervised
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == sorted(losses, reverse=True)
    assert losses[3] < losses[0] - 0.02


# Answers ----------------------------------------------------------------------------------------


def greedy(model: Any, prompts: list[list[int]], steps: int) -> list[list[int]]:
    """Rows that share passes over our engine's cache."""
    lean = LeanDecoder(model) if LeanDecoder.suits(model) else None
    reader = Reader(model, forward=lean.read if lean else None)
    names = [str(number) for number in range(len(prompts))]
    rows = {name: list(prompt) for name, prompt in zip(names, prompts, strict=True)}
    counts = {name: len(row) - reader.open(name, row) for name, row in rows.items()}
    for _ in range(steps):
        for name, logits in reader.read(counts).items():
            rows[name].append(int(logits[-1].argmax()))
        counts = dict.fromkeys(names, 1)
    return [rows[name][len(prompt) :] for name, prompt in zip(names, prompts, strict=True)]


def test_answers_are_those_of_transformers(made: Made) -> None:
    """From the engine's cache and from batches; longer than the sliding windows."""
    reference, steps = made.reference(), 20
    prompts = [made.renderer.prompt_ids(question) for question in QUESTIONS]
    expected = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        options = {"do_sample": False, "max_new_tokens": steps, "pad_token_id": 0}
        with torch.no_grad():
            found = reference.generate(
                ids, attention_mask=torch.ones_like(ids), eos_token_id=[], **options
            )
        expected.append(found[0, len(prompt) :].tolist())
    model = made.model()
    assert greedy(model, prompts, steps) == expected
    shared = TextModel(made.name, Shared(model, made.renderer, made.base))
    config = GenerationConfig(temperature=0, max_new_tokens=steps)
    for answer, tokens in zip(shared.answer(QUESTIONS, config), expected, strict=True):
        assert list(answer.tokens) == tokens[: len(answer.tokens)]
        stopped = answer.tokens[-1] in made.renderer.eos_ids
        assert stopped or len(answer.tokens) == steps


def test_text_grows_to_what_its_tokens_say(made: Made) -> None:
    """Also where characters are spelled in bytes, and where an answer is cut amid one."""
    decode = made.renderer.decode
    for chat in chats(made.specimen, 10):
        text = f"w{chat.messages[-1].content}龘\n押金鑫🙂é"
        tokens = made.renderer.tokenizer.encode(text, add_special_tokens=False).ids
        whole = decode(tokens)
        assert unicodedata.normalize("NFC", whole) == unicodedata.normalize("NFC", text)
        for length in range(1, len(tokens) + 1):
            growth = TextGrowth(decode)
            shown = "".join(growth.add(token) for token in tokens[:length]) + growth.finish()
            assert shown.rstrip("\ufffd") == whole[: len(shown.rstrip("\ufffd"))]
            assert text_of(decode, tokens[:length]) == shown
