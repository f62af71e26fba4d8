"""LoRA adapters of ChatGLM3's fused layers, taken over, and ours in PEFT on the native class."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.model.chatglm3.conftest import Original
from tests.model.chatglm3.files import CONFIG, forward

from tunewright.config.training import LoraConfig
from tunewright.core.errors import ModelError
from tunewright.core.records import Model
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.model.adapters import attach_lora, load_adapter, save_adapter
from tunewright.model.imports import import_adapter
from tunewright.model.loading import load_model

RANK, ALPHA = 3, 12
LAYERS = ("self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h")
CPU = torch.device("cpu")


@pytest.fixture
def store(chatglm3: Original, tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "home", Settings(home=tmp_path / "home", offline=True))
    yield opened
    opened.close()


def write_adapter(
    folder: Path, original: Original, pickled: bool = False, **settings: Any
) -> dict[str, torch.Tensor]:
    """An adapter as PEFT writes it for ChatGLM3's own classes; gives B·A·alpha/r per weight."""
    torch.manual_seed(3)
    folder.mkdir()
    tensors, updates = {}, {}
    for number in range(CONFIG["num_layers"]):
        for layer in LAYERS:
            path = f"transformer.encoder.layers.{number}.{layer}"
            out, inputs = original.tensors[f"{path}.weight"].shape
            a, b = torch.randn(RANK, inputs) / 4, torch.randn(out, RANK) / 4
            tensors[f"base_model.model.{path}.lora_A.weight"] = a
            tensors[f"base_model.model.{path}.lora_B.weight"] = b
            updates[f"{path}.weight"] = b @ a * (ALPHA / RANK)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "THUDM/chatglm3-6b",
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.1,
        "target_modules": [layer.rsplit(".", 1)[-1] for layer in LAYERS],
        "bias": "none",
        "fan_in_fan_out": False,
        "modules_to_save": None,
        **settings,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    if pickled:
        torch.save(tensors, folder / "adapter_model.bin")
    else:
        save_file(tensors, folder / "adapter_model.safetensors")
    return updates


@pytest.mark.parametrize("pickled", [False, True])
def test_a_fused_adapter_answers_as_on_the_original(
    chatglm3: Original, store: Store, tmp_path: Path, pickled: bool
) -> None:
    updates = write_adapter(tmp_path / "checkpoint-3000", chatglm3, pickled)
    model = import_adapter(tmp_path / "checkpoint-3000", str(chatglm3.folder), store)
    assert model.name.startswith("ft:chatglm3-tiny:local:checkpoint-3000:")
    assert store.get(Model, model.name).base_digest == chatglm3.base.digest
    folder = store.folder(Model, model.id)
    theirs = json.loads((folder / "adapter_config.json").read_text())
    assert theirs["target_modules"] == ["gate_up_proj", "k_proj", "o_proj", "q_proj", "v_proj"]
    loaded = load_model(chatglm3.base, CPU, torch.float32)
    load_adapter(loaded, folder)
    ids = torch.randint(65024, (2, 16), generator=torch.Generator().manual_seed(4))
    merged = {n: t + updates.get(n, 0) for n, t in chatglm3.tensors.items()}
    with torch.no_grad():
        found = loaded(input_ids=ids).logits
    torch.testing.assert_close(found, forward(merged, ids), rtol=1e-4, atol=1e-4)


def test_no_value_of_a_fused_adapter_changes(
    chatglm3: Original, store: Store, tmp_path: Path
) -> None:
    write_adapter(tmp_path / "adapter", chatglm3)
    theirs = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    model = import_adapter(tmp_path / "adapter", str(chatglm3.folder), store)
    ours = load_file(store.folder(Model, model.id) / "adapter_model.safetensors")
    fused = "base_model.model.transformer.encoder.layers.1.self_attention.query_key_value"
    block = "base_model.model.model.layers.1.self_attn"
    parts = [ours[f"{block}.{name}_proj.lora_B.weight"] for name in "qkv"]
    assert torch.equal(torch.cat(parts), theirs[f"{fused}.lora_B.weight"])
    for name in "qkv":
        a = ours[f"{block}.{name}_proj.lora_A.weight"]
        assert torch.equal(a, theirs[f"{fused}.lora_A.weight"])


def test_layers_that_are_left_out_stay_out_in_peft(
    chatglm3: Original, store: Store, tmp_path: Path
) -> None:
    write_adapter(tmp_path / "adapter", chatglm3, rank_pattern={"self_attention.dense": 5})
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if "layers.1.self" in name}
    wide = "base_model.model.transformer.encoder.layers.1.self_attention.dense.lora"
    kept[f"{wide}_A.weight"] = torch.randn(5, 32)
    kept[f"{wide}_B.weight"] = torch.randn(32, 5)
    save_file(kept, file)
    model = import_adapter(tmp_path / "adapter", str(chatglm3.folder), store)
    settings = store.folder(Model, model.id) / "adapter_config.json"
    found = json.loads(settings.read_text())
    block = "model.layers.1.self_attn"
    assert found["target_modules"] == [f"{block}.{name}_proj" for name in "koqv"]
    assert found["rank_pattern"] == {f"{block}.o_proj": 5}


def test_adapters_that_do_not_fit_are_refused(
    chatglm3: Original, store: Store, tmp_path: Path, tiny_base: Path
) -> None:
    base = str(chatglm3.folder)
    write_adapter(tmp_path / "biased", chatglm3, bias="all")
    with pytest.raises(ModelError, match=r"biased.*bias='all' is not supported"):
        import_adapter(tmp_path / "biased", base, store)
    write_adapter(tmp_path / "prefix", chatglm3, peft_type="PREFIX_TUNING")
    with pytest.raises(ModelError, match="only LoRA is taken over"):
        import_adapter(tmp_path / "prefix", base, store)
    write_adapter(tmp_path / "other", chatglm3)
    with pytest.raises(ModelError, match="trained on ChatGLM3; the base is a qwen3 model"):
        import_adapter(tmp_path / "other", str(tiny_base), store)
    file = tmp_path / "other" / "adapter_model.safetensors"
    head = "base_model.model.transformer.output_layer"
    save_file({**load_file(file), f"{head}.lora_A.weight": torch.tensor(1.0)}, file)
    with pytest.raises(ModelError, match="is not part of a plain LoRA adapter"):
        import_adapter(tmp_path / "other", base, store)
    file.unlink()
    with pytest.raises(ModelError, match="has no adapter_model"):
        import_adapter(tmp_path / "other", base, store)
    assert not store.list(Model)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_our_adapters_load_in_peft_on_the_native_class(chatglm3: Original, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = load_model(chatglm3.base, CPU, torch.float32)
    config = LoraConfig(rank=4, alpha=8)
    attach_lora(model, config, seed=0)
    for name, parameter in model.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    save_adapter(model, config, chatglm3.base.name, tmp_path / "adapter")
    native = AutoModelForCausalLM.from_pretrained(chatglm3.base.folder, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(native, tmp_path / "adapter").eval()
    ids = torch.randint(65024, (1, 16), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
        torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=0, atol=1e-5)
