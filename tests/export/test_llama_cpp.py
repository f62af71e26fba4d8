"""llama.cpp itself reads our GGUF files: the same token ids, the same greedy answers.

Needs ``pip install llama-cpp-python``, which compiles llama.cpp for some minutes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.export.conftest import MakeTuned
from tests.export.gguf_families import FAMILIES, family_base
from tests.export.test_gguf_vocabulary import drawn
from tests.export.test_merged import make
from transformers.activations import GELUTanh

from tunewright.core.messages import conversation
from tunewright.core.records import Model
from tunewright.core.store import Store
from tunewright.export.formats import Arithmetic, Exported, load_tuned
from tunewright.export.gguf.mixtures import MIXTURES
from tunewright.export.gguf.read import read_gguf
from tunewright.export.observation import Spoken, answer_logits, speak
from tunewright.model.generation import TextModel
from tunewright.model.references import resolve
from tunewright.model.rendering import Renderer

llama_cpp = pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")
from llama_cpp.llama_chat_format import Jinja2ChatFormatter  # noqa: E402

pytestmark = pytest.mark.slow

QUESTIONS = (
    "你好，请介绍一下你自己。",
    "试用期最长可以约定多久？",
    "What is 12 + 30? It's 2024.",
    "  Name three colours,\n\nplease… ",
    "🙂 naïve café №5",
)
K_QUANTS = tuple(name for name in MIXTURES if "_k" in name)
LONGEST = 24
_GGML_F32 = 0


def asked(model: TextModel) -> list[Spoken]:
    """The tuned model's own greedy answers."""
    return speak(model, [conversation(("user", text)) for text in QUESTIONS], LONGEST)


def opened(folder: Path) -> Any:
    """The export's file in llama.cpp, with a cache that rounds nothing."""
    (file,) = folder.glob("*.gguf")
    return llama_cpp.Llama(
        str(file), n_ctx=256, logits_all=True, verbose=False, n_threads=1,
        type_k=_GGML_F32, type_v=_GGML_F32,
    )  # fmt: skip


def prompt_of(llama: Any, question: str) -> tuple[int, ...]:
    """llama.cpp's ids of a question: by the file's own template, begin token and tokenizer."""

    def spelled(number: int) -> str:
        return str(llama_cpp.llama_vocab_get_text(llama._model.vocab, number).decode())

    formatter = Jinja2ChatFormatter(
        llama.metadata["tokenizer.chat_template"],
        eos_token=spelled(llama.token_eos()), bos_token=spelled(llama.token_bos()),
    )  # fmt: skip
    written = formatter(messages=[{"role": "user", "content": question}])
    return tuple(
        llama.tokenize(written.prompt.encode(), add_bos=not written.added_special, special=True)
    )


def logits_of(llama: Any, one: Spoken) -> torch.Tensor:
    """llama.cpp's logits for each token of an answer."""
    llama.reset()
    llama.eval([*one.prompt, *one.tokens])
    first = len(one.prompt) - 1
    return torch.tensor(llama.scores[first : first + len(one.tokens)].copy())


def greedy(llama: Any, one: Spoken) -> tuple[int, ...]:
    """llama.cpp's own greedy answer, up to one of its end tokens."""
    llama.reset()
    found: list[int] = []
    for token in llama.generate(list(one.prompt), temp=0.0, top_k=1, repeat_penalty=1.0):
        found.append(token)
        if llama_cpp.llama_vocab_is_eog(llama._model.vocab, token) or len(found) == LONGEST:
            break
    return tuple(found)


class RoundedGelu(torch.nn.Module):
    """llama.cpp's GELU on a CPU: looked up in a table for each float16 number (ggml's vec.h)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = torch.nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x.abs() < 10, found, x.clamp_min(0))


def round_gelu(tuned: TextModel) -> None:
    """Let the tuned model compute GELU as llama.cpp does; other activations are left alone."""
    for module in tuned.network.modules():
        if isinstance(getattr(module, "act_fn", None), GELUTanh):
            module.act_fn = RoundedGelu()


def compare(store: Store, model: Model, stored_as: str, furthest: float) -> None:
    """llama.cpp's ids, logits and greedy answers beside the tuned model's own."""
    found = resolve(store, model.id)
    made = make(store, model, to="gguf", gguf=stored_as, parity={"check": False})
    tuned = load_tuned(found, Arithmetic(torch.device("cpu"), torch.float32))
    round_gelu(tuned)
    llama = opened(made.folder)
    for question, one in zip(QUESTIONS, asked(tuned), strict=True):
        assert prompt_of(llama, question) == one.prompt
        assert (logits_of(llama, one) - answer_logits(tuned, one)).abs().max() < furthest
        assert greedy(llama, one) == one.tokens


@pytest.mark.parametrize(
    ("stored_as", "furthest"), [("f32", 1e-4), ("f16", 2e-2), ("bf16", 0.2), ("q8_0", 1.0)]
)
def test_nano_answers_the_same(
    store: Store, make_tuned: MakeTuned, stored_as: str, furthest: float
) -> None:
    compare(store, make_tuned("ia3", base=Path("nano")), stored_as, furthest)


def read_by_both(made: Exported) -> tuple[TextModel, Any]:
    """A GGUF file as we read it back, and as llama.cpp does."""
    (file,) = made.folder.glob("*.gguf")
    arithmetic = Arithmetic(torch.device("cpu"), torch.float32)
    return read_gguf(file, "read back", arithmetic), opened(made.folder)


@pytest.mark.parametrize("stored_as", K_QUANTS)
def test_k_quants_of_nano_answer_the_same(
    store: Store, make_tuned: MakeTuned, stored_as: str
) -> None:
    model = make_tuned("ia3", base=Path("nano"))
    ours, llama = read_by_both(
        make(store, model, to="gguf", gguf=stored_as, parity={"check": False})
    )
    for question, one in zip(QUESTIONS, asked(ours), strict=True):
        assert prompt_of(llama, question) == one.prompt
        # llama.cpp rounds activations to 8 bits where the weights have few.
        assert (logits_of(llama, one) - answer_logits(ours, one)).abs().max() < 1.0
        assert greedy(llama, one) == one.tokens


@pytest.mark.parametrize("stored_as", K_QUANTS)
def test_k_quants_of_wider_rows_are_computed_the_same(
    store: Store, make_tuned: MakeTuned, base_of: Any, stored_as: str
) -> None:
    base = base_of("llama", hidden_size=512, intermediate_size=768)
    model = make_tuned("lora", base=base)
    ours, llama = read_by_both(
        make(store, model, to="gguf", gguf=stored_as, parity={"check": False})
    )
    for one in asked(ours):
        expected = answer_logits(ours, one)
        away = (logits_of(llama, one) - expected).square().mean().sqrt()
        # Its rounded activations move random logits by 2 % with q8_0 too; misread bits, by 100 %.
        assert away < 0.2 * expected.square().mean().sqrt()


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "llama3"])
def test_every_architecture_is_computed_the_same(
    store: Store, make_tuned: MakeTuned, base_of: Any, kind: str
) -> None:
    compare(store, make_tuned("lora", base=base_of(kind)), "f32", 1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_computed_the_same(
    store: Store, make_tuned: MakeTuned, tmp_path: Path, name: str
) -> None:
    # Where a number lies between two of float16, GELU's table may be read one place further on.
    furthest = 5e-4 if name.startswith("gemma") else 1e-4
    compare(store, make_tuned("lora", base=family_base(name, tmp_path)), "f32", furthest)


@pytest.mark.parametrize("name", ["llama2", "gemma3", "phi3", "chatglm3"])
def test_thousands_of_texts_become_the_same_tokens(
    store: Store, make_tuned: MakeTuned, tmp_path: Path, name: str
) -> None:
    model = make_tuned("lora", base=family_base(name, tmp_path))
    made = make(store, model, to="gguf", gguf="f16", parity={"check": False})
    own = Renderer(resolve(store, model.id).base.folder).tokenizer
    # Text is text, whatever it spells.
    own.encode_special_tokens = True
    words = [text.replace("▁", " ") for text in own.get_vocab() if not text.startswith("<")]
    llama = opened(made.folder)
    for text in drawn(words[:5000], 4000):
        ids = own.encode(text, add_special_tokens=False).ids
        assert llama.tokenize(text.encode(), add_bos=False, special=False) == ids, text
