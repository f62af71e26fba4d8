"""Generation: equal to transformers' own, the same alone and in a batch, and it stops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tunewright.config.serving import GenerationConfig
from tunewright.config.training import LoraConfig
from tunewright.core.errors import InputError, ModelError, NotFoundError
from tunewright.core.events import Event
from tunewright.core.messages import Conversation, conversation
from tunewright.core.records import Model, Run
from tunewright.core.store import Store
from tunewright.model.adapters import adapter_parameters, attach_lora, save_adapter
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.decoding import Batch
from tunewright.model.generation import Answer, TextModel, load_many
from tunewright.model.loading import load_model, pick_device, pick_dtype
from tunewright.model.rendering import Renderer

CPU = torch.device("cpu")
QUESTIONS = [
    conversation(("user", text))
    for text in ("hi", "How long is the trial period?", "试用期", "a b c d e f g", "x" * 40)
]
GREEDY = GenerationConfig(max_new_tokens=24)


@pytest.fixture
def model(store: Store, tiny_base: Path) -> TextModel:
    return TextModel.load(store, str(tiny_base), "cpu")


def save_random_adapter(base: Base, folder: Path, seed: int) -> None:
    """An adapter that visibly changes the answers."""
    loaded = load_model(base, CPU, torch.float32)
    config = LoraConfig(rank=4)
    attach_lora(loaded, config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter_parameters(loaded).values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    save_adapter(loaded, config, base.name, folder)


def add_model(store: Store, base_folder: Path, name: str, seed: int, **changes: str) -> Model:
    """A tuned model in the store."""
    base = resolve_base(str(base_folder), store.settings)
    record = Model(
        id=store.new_id(Model),
        name=name,
        base=str(base_folder),
        base_digest=changes.get("digest", base.digest),
        renderer_hash=changes.get("hash", Renderer(base.folder).hash),
        run="run_0",
        step=1,
    )
    with store.stage(Model, record.id) as folder:
        save_random_adapter(base, folder, seed)
    store.add(record)
    return record


def test_greedy_equals_transformers(model: TextModel, tiny_base: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    for question, answer in zip(QUESTIONS, model.answer(QUESTIONS, GREEDY), strict=True):
        prompt = model.renderer.prompt_ids(question)
        ids = theirs.generate(
            torch.tensor([prompt]), max_new_tokens=24, do_sample=False, pad_token_id=0
        )[0, len(prompt) :].tolist()
        assert answer.text == model.renderer.decode(ids)
        assert answer.completion_tokens == len(ids)
        assert answer.prompt_tokens == len(prompt)


def test_small_batches_refill_and_agree(model: TextModel) -> None:
    alone = [model.answer([question], GREEDY)[0] for question in QUESTIONS]
    for size in (2, 3, 5):
        assert model.answer(QUESTIONS, GREEDY, batch_size=size) == alone


def test_draws_repeat_with_a_seed_whatever_the_batch(model: TextModel) -> None:
    config = GenerationConfig(max_new_tokens=12, temperature=1.5, top_p=0.9, seed=7)
    first = model.answer(QUESTIONS, config)
    assert model.answer(QUESTIONS, config, batch_size=2) == first
    assert model.answer(QUESTIONS, config.model_copy(update={"seed": 8})) != first
    assert first != model.answer(QUESTIONS, GenerationConfig(max_new_tokens=12))


def test_a_tiny_nucleus_is_greedy(model: TextModel) -> None:
    config = GenerationConfig(max_new_tokens=12, temperature=1.0, top_p=1e-6, seed=1)
    assert model.answer(QUESTIONS, config) == model.answer(
        QUESTIONS, GenerationConfig(max_new_tokens=12)
    )


def test_the_limit_and_the_end_token(model: TextModel) -> None:
    answer = model.answer(QUESTIONS[:1], GenerationConfig(max_new_tokens=3))[0]
    assert (answer.finish_reason, answer.completion_tokens) == ("length", 3)
    first = model.renderer.tokenizer.encode(answer.text, add_special_tokens=False).ids[0]
    model.renderer.eos_ids = frozenset({first})
    ended = model.answer(QUESTIONS[:1], GenerationConfig(max_new_tokens=3))[0]
    assert ended == Answer("", answer.prompt_tokens, 1, "stop")


def test_a_stop_text_ends_the_answer(model: TextModel) -> None:
    whole = model.answer(QUESTIONS[:1], GREEDY)[0].text
    stop = whole[5:8]
    config = GREEDY.model_copy(update={"stop": (stop,)})
    answer = model.answer(QUESTIONS[:1], config)[0]
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finish_reason == "stop"
    assert "".join(model.stream(QUESTIONS[0], config)) == answer.text


def collect(model: TextModel, question: Conversation) -> tuple[list[str], Answer]:
    pieces: list[str] = []
    stream = model.stream(question, GREEDY)
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


def test_a_stream_gives_the_answer_piece_by_piece(model: TextModel) -> None:
    for question in QUESTIONS:
        pieces, answer = collect(model, question)
        assert answer == model.answer([question], GREEDY)[0]
        assert "".join(pieces) == answer.text
        assert len(pieces) > 3


def test_answers_stay_within_the_context(model: TextModel) -> None:
    question = conversation(("user", "ab " * 75))
    room = 256 - len(model.renderer.prompt_ids(question))
    assert 0 < room < 100
    answer = model.answer([question], GenerationConfig(max_new_tokens=500))[0]
    assert answer.completion_tokens <= room
    with pytest.raises(InputError, match=r"conversation 1 takes \d+ tokens.*256"):
        model.answer([conversation(("user", "ab " * 200))], GREEDY)


def test_progress_is_told(model: TextModel) -> None:
    heard: list[Event] = []
    model.answer(QUESTIONS, GREEDY, heard.append)
    assert [event.data["done"] for event in heard] == [1, 2, 3, 4, 5]
    assert model.answer([], GREEDY) == []


def test_models_that_share_a_base_do_not_disturb_each_other(store: Store, tiny_base: Path) -> None:
    first = add_model(store, tiny_base, "ft:tiny:a", seed=1)
    second = add_model(store, tiny_base, "ft:tiny:b", seed=2)
    alone = [
        TextModel.load(store, ref).answer(QUESTIONS, GREEDY) for ref in (first.id, "ft:tiny:b")
    ]
    bare = TextModel.load(store, str(tiny_base)).answer(QUESTIONS, GREEDY)
    models = load_many(store, [first.name, str(tiny_base), second.name])
    assert [m.name for m in models] == ["ft:tiny:a", str(tiny_base), "ft:tiny:b"]
    assert models[1].answer(QUESTIONS, GREEDY) == bare
    assert models[0].answer(QUESTIONS, GREEDY) == alone[0]
    assert models[2].answer(QUESTIONS, GREEDY) == alone[1]
    assert bare != alone[0] != alone[1]
    # Even when two streams take turns.
    streams = [models[0].stream(QUESTIONS[1], GREEDY), models[2].stream(QUESTIONS[1], GREEDY)]
    texts = ["", ""]
    for place in (0, 1) * 100:
        texts[place] += next(streams[place], "")
    assert texts == [alone[0][1].text, alone[1][1].text]


def test_a_checkpoint_is_named_by_run_and_step(store: Store, tiny_base: Path) -> None:
    run = Run(id=store.new_id(Run), dataset="ds_0", base=str(tiny_base), config={}, state="running")
    folder = store.open_folder(Run, run.id)
    store.add(run)
    base = resolve_base(str(tiny_base), store.settings)
    save_random_adapter(base, folder / "checkpoints" / "step-00000020" / "adapter", seed=1)
    model = TextModel.load(store, f"{run.id}@20")
    assert model.name == f"{run.id}@20"
    assert model.answer(QUESTIONS, GREEDY) != TextModel.load(store, str(tiny_base)).answer(
        QUESTIONS, GREEDY
    )
    state = folder / "checkpoints" / "step-00000020" / "state.json"
    state.write_text(json.dumps({"identity": {"base": "0" * 64}}))
    with pytest.raises(ModelError, match="another version of base"):
        TextModel.load(store, f"{run.id}@20")
    state.write_text(json.dumps({"identity": {"base": base.digest, "renderer": "0" * 64}}))
    with pytest.raises(ModelError, match="another rendering"):
        TextModel.load(store, f"{run.id}@20")
    with pytest.raises(NotFoundError, match="no checkpoint at step '30'") as refusal:
        TextModel.load(store, f"{run.id}@30")
    assert "20" in refusal.value.hint


def test_a_changed_base_or_rendering_is_refused(
    store: Store, tiny_base: Path, tmp_path: Path
) -> None:
    add_model(store, tiny_base, "other-base", seed=1, digest="0" * 64)
    add_model(store, tiny_base, "other-rendering", seed=1, hash="0" * 64)
    with pytest.raises(ModelError, match="another version of base"):
        TextModel.load(store, "other-base")
    with pytest.raises(ModelError, match="another rendering"):
        TextModel.load(store, "other-rendering")


def test_unknown_references_name_the_known(store: Store, tiny_base: Path) -> None:
    add_model(store, tiny_base, "ft:tiny:legal", seed=1)
    with pytest.raises(NotFoundError) as refusal:
        TextModel.load(store, "ft:tiny:legel")
    assert "ft:tiny:legal" in refusal.value.hint
    with pytest.raises(NotFoundError, match="neither a base"):
        TextModel.load(store, "nona")


def test_a_base_without_template_answers(store: Store, tiny_llama: Path) -> None:
    model = TextModel.load(store, str(tiny_llama))
    answers = model.answer(QUESTIONS, GREEDY)
    assert answers == [model.answer([question], GREEDY)[0] for question in QUESTIONS]


def test_a_batch_changes_without_changing_its_rows(store: Store, tiny_base: Path) -> None:
    base = resolve_base(str(tiny_base), store.settings)
    loaded = load_model(base, CPU, torch.float32)
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12], [13] * 80]
    steps = [4, 3, 9, 7] * 40

    def alone(prompt: list[int], tokens: list[int]) -> torch.Tensor:
        with torch.no_grad():
            result: torch.Tensor = loaded(torch.tensor([prompt + tokens])).logits[0, -1]
        return result

    batch = Batch(loaded, 0)
    batch.admit(prompts[:2])
    for token in steps[:70]:
        batch.step([token, token])
    logits = batch.admit([prompts[2]])
    torch.testing.assert_close(logits[0], alone(prompts[2], []), atol=1e-4, rtol=0)
    batch.keep([1, 2])
    logits = batch.step([1, 2])
    torch.testing.assert_close(logits[0], alone(prompts[1], [*steps[:70], 1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(logits[1], alone(prompts[2], [2]), atol=1e-4, rtol=0)
    batch.keep([])
    assert batch.rows == 0


def test_where_and_how_to_compute() -> None:
    assert pick_device("cpu") == CPU
    assert pick_dtype("float32", CPU) == torch.float32
    assert pick_dtype("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(InputError, match="device 'tpu'"):
        pick_device("tpu")
    with pytest.raises(InputError, match="precision 'int4'"):
        pick_dtype("int4", CPU)


def test_incomplete_weights_are_refused(store: Store, tiny_base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "b"
    shutil.copytree(tiny_base, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 tensors.*model\.norm\.weight"):
        TextModel.load(store, str(folder))
