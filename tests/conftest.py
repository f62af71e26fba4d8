"""Fixtures that every test package shares: a home, a store, and tiny random bases."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from tunewright.core.settings import Settings
from tunewright.core.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from transformers import PretrainedConfig

# Before torch is imported, here and in the processes that tests start: with models this small,
# waiting for a second thread on a busy machine takes far longer than doing its share.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
# Draws are compared between batches, whatever the processor's favourite arithmetic.
os.environ["TUNEWRIGHT_PRECISION"] = "float32"

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = (
    "How long is the trial period? Three months at most, in writing.",
    "试用期最长多久?最长六个月,应当书面约定。",
    "The quick brown fox jumps over the lazy dog. 0123456789",
    "押金什么时候退?租期结束后七日内退还。",
)


def write_tokenizer(folder: Path, specials: tuple[str, ...] = SPECIALS, size: int = 400) -> int:
    """A byte-level BPE tokenizer trained on a few sentences; returns its size."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(s, special=True, normalized=False) for s in specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def write_model(folder: Path, config: PretrainedConfig) -> None:
    """Random weights (seed 0) for a config, in the folder's safetensors."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def write_json(path: Path, value: object) -> None:
    """One JSON document."""
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home directory."""
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """A store in an empty home, offline."""
    opened = Store(home, Settings(home=home, offline=True))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random 2-layer Qwen3 (ChatML, context 256), made once per session."""
    from transformers import Qwen3Config

    folder = tmp_path_factory.mktemp("bases") / "tiny"
    folder.mkdir()
    vocabulary = write_tokenizer(folder)
    write_json(
        folder / "tokenizer_config.json",
        {
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 256,
        },
    )
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    write_model(
        folder,
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=2,
            pad_token_id=0,
        ),
    )
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, for all tests of a module."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs a chromium on the PATH")
    with sync_playwright() as play:
        launched = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random 2-layer Llama that has no chat template."""
    from transformers import LlamaConfig

    folder = tmp_path_factory.mktemp("bases") / "llama"
    folder.mkdir()
    vocabulary = write_tokenizer(folder, ("<unk>", "<s>", "</s>"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    write_model(
        folder,
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            bos_token_id=1,
            eos_token_id=2,
        ),
    )
    return folder


def talking_copy(base: Path, folder: Path, context: int) -> Path:
    """A base again, with a template that knows tools and with another context length."""
    shutil.copytree(base, folder)
    template = files("tunewright") / "bases" / "nano" / "chat_template.jinja"
    (folder / "chat_template.jinja").write_text(template.read_text(), encoding="utf-8")
    for name, key in (
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**values, key: context}))
    return folder
