"""Tuned models of every kind, made without training: their weights are drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.conftest import CHATML, write_json, write_model, write_tokenizer
from tests.training.conftest import add_dataset, make_rows

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.table import TUNERS

if TYPE_CHECKING:
    from transformers import PretrainedConfig

MakeTuned = Callable[..., Model]
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def config_of(kind: str, vocabulary: int, **other: int) -> PretrainedConfig:
    """Small configs, each with what its architecture has of its own."""
    from transformers import LlamaConfig, Qwen2Config, Qwen3Config

    sizes = {**SIZES, "vocab_size": vocabulary, **other}
    return {
        "qwen2": lambda: Qwen2Config(**sizes, rope_parameters={"rope_theta": 5e4}),
        "qwen3": lambda: Qwen3Config(**sizes, head_dim=32, tie_word_embeddings=True),
        "llama": lambda: LlamaConfig(**sizes, rms_norm_eps=1e-5, attention_bias=True),
        "llama3": lambda: LlamaConfig(**sizes, rope_parameters=LLAMA3),
    }[kind]()


@pytest.fixture
def base_of(tmp_path: Path) -> Any:
    """Makes a folder with a random base of a kind; its embedding has rows to spare."""

    def build(kind: str, **sizes: int) -> Path:
        folder = tmp_path / kind
        folder.mkdir()
        vocabulary = write_tokenizer(folder)
        write_json(folder / "tokenizer_config.json", {"eos_token": "<|im_end|>"})
        (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
        torch.manual_seed(0)
        write_model(folder, config_of(kind, vocabulary + 8, **sizes))
        return folder

    return build


@pytest.fixture
def tested(store: Store) -> Dataset:
    """A dataset with six locked test rows."""
    dataset = add_dataset(store, make_rows(2), [])
    folder = store.folder(Dataset, dataset.id)
    write_rows(folder / "test.jsonl", make_rows(6, first=50))
    return dataset


@pytest.fixture
def make_tuned(store: Store, tested: Dataset, tiny_base: Path) -> MakeTuned:
    """Puts a tuned model with drawn weights into the store."""

    def make(tuner: str = "lora", base: Path = tiny_base, **options: Any) -> Model:
        folded = options.pop("folded", ())
        values: dict[str, Any] = {"lora": {"rank": 4}} if tuner == "lora" else {}
        config = TrainConfig.build(
            {"dataset": tested.id, "base": str(base), "tuner": tuner, **values, **options}
        )
        found = resolve_base(str(base), store.settings)
        model = load_model(found, torch.device("cpu"), torch.float32)
        trained = TUNERS[tuner].attach(model, config)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in trained.parameters.values():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.05 * noise)
        run = Run(
            id=store.new_id(Run), dataset=tested.id, base=str(base), config=config.json_dict(),
            state="succeeded",
        )  # fmt: skip
        store.add(run)
        record = Model(
            id=(new := store.new_id(Model)), name=f"ft:tiny:local:{tuner}:{new[-6:]}",
            base=str(base), base_digest=found.digest, renderer_hash=Renderer(found.folder).hash,
            run=run.id, step=1, folded=folded,
        )  # fmt: skip
        with store.stage(Model, record.id) as folder:
            TUNERS[tuner].save(model, config, found, folder)
        store.add(record)
        return record

    return make
