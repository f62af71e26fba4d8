"""Sizes from a config alone are those of the model that transformers makes of it."""

import random
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tunewright.core.errors import ModelError
from tunewright.model.known_shapes import known_shapes
from tunewright.model.shapes import known_families, shape_of
from tunewright.model.tuners.targets import linear_layers

BUILT_IN = [name for name in known_families() if name != "chatglm"]


def drawn(family: str, seed: int) -> dict[str, Any]:
    """A small config with sizes that no rule of thumb would guess, some of them left out."""
    draw = random.Random(f"{family}{seed}")
    kv_heads = draw.choice((1, 2, 3))
    config: dict[str, Any] = {
        "model_type": family,
        "hidden_size": 24 * draw.randrange(2, 6),
        "intermediate_size": draw.randrange(17, 99),
        "num_hidden_layers": draw.randrange(1, 4),
        "num_attention_heads": kv_heads * draw.choice((1, 2, 4)),
        "num_key_value_heads": kv_heads,
        "head_dim": 2 * draw.randrange(3, 9),
        "vocab_size": draw.randrange(50, 300),
        "tie_word_embeddings": draw.random() < 0.5,
        "attention_bias": draw.random() < 0.5,
        "mlp_bias": draw.random() < 0.5,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    if family == "internlm3":  # it has one bias for all
        config["mlp_bias"] = config["attention_bias"]
    if "moe" in family or "deepseek" in family or family == "mixtral":
        config |= {
            "moe_intermediate_size": draw.randrange(9, 30),
            "num_experts_per_tok": draw.choice((1, 2)),
            "num_hidden_layers": draw.choice((2, 3)),
            "q_lora_rank": draw.choice((None, 7)),
            "kv_lora_rank": draw.randrange(5, 20),
            "v_head_dim": draw.randrange(3, 9),
        }
        names = {"mixtral": "num_local_experts", "qwen3_moe": "num_experts"}
        config[names.get(family, "n_routed_experts")] = 5
    if "deepseek" in family:
        config["first_k_dense_replace"] = draw.choice((0, 1))
    if family == "qwen3_moe":
        config |= {"decoder_sparse_step": draw.choice((1, 2)), "num_hidden_layers": 4}
        config["mlp_only_layers"] = draw.choice(([], [0], [0, 1]))
    if family == "phi3":  # it takes channels per head from the hidden size
        config["hidden_size"] = config["num_attention_heads"] * config.pop("head_dim")
    for optional in ("tie_word_embeddings", "attention_bias", "mlp_bias"):
        if draw.random() < 0.3 and family != "internlm3":
            del config[optional]
    return config


def on_meta(config: dict[str, Any]) -> Any:
    values = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(CONFIG_MAPPING[config["model_type"]](**values))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", BUILT_IN)
def test_counts_equal_those_of_transformers(family: str, seed: int) -> None:
    config = drawn(family, seed)
    model, shape = on_meta(config), shape_of(config)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    last = f".layers.{shape.layers - 1}."
    block = sum(p.numel() for n, p in model.named_parameters() if last in n)
    assert shape.block == block


@pytest.mark.parametrize("family", BUILT_IN)
def test_linear_layers_have_the_names_and_sizes_that_tuners_meet(family: str) -> None:
    config = drawn(family, 9)
    shape, layers = shape_of(config), linear_layers(on_meta(config))
    found = [
        {
            path.rsplit(".", 1)[-1]: (layer.in_features, layer.out_features)
            for path, layer in layers.items()
            if f".layers.{block}." in path
        }
        for block in range(shape.layers)
    ]
    usual, dense = (
        {linear.name: (linear.inputs, linear.outputs) for linear in linears}
        for linears in (shape.linears, shape.dense_linears)
    )
    assert found.count(usual) == shape.layers - shape.dense
    assert found.count(dense) == shape.dense
    assert shape.linear_weights == sum(layer.weight.numel() for layer in layers.values())


@pytest.mark.parametrize("family", BUILT_IN)
def test_what_a_config_leaves_out_is_filled_in_as_transformers_does(family: str) -> None:
    config = {
        "model_type": family,
        "hidden_size": 256,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 32,
        "vocab_size": 100,
    }
    values = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    model = on_meta({**config, **values})
    assert shape_of(config).parameters == sum(p.numel() for p in model.parameters())


def test_chatglm3_has_its_published_size() -> None:
    config = {
        "model_type": "chatglm",
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "ffn_hidden_size": 13696,
        "hidden_size": 4096,
        "kv_channels": 128,
        "multi_query_attention": True,
        "multi_query_group_num": 2,
        "num_attention_heads": 32,
        "num_layers": 28,
        "padded_vocab_size": 65024,
        "seq_length": 8192,
        "tie_word_embeddings": False,
    }
    shape = shape_of(config)
    assert shape.parameters == 6_243_584_000
    assert shape.linear_weights == 5_710_544_896
    assert (shape.context, shape.keys, shape.queries) == (8192, 256, 4096)
    assert shape_of({**config, "multi_query_attention": False}).kv_heads == 32


def test_what_cannot_be_told_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="mamba"):
        shape_of({"model_type": "mamba"})
    with pytest.raises(ModelError, match="intermediate_size"):
        shape_of({"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2})
    with pytest.raises(ModelError, match="hidden_size must be a whole number above 0, not '8'"):
        shape_of({"model_type": "llama", "hidden_size": "8"})


def test_known_bases_have_their_published_sizes() -> None:
    sizes = {name: shape.parameters for name, shape in known_shapes().items()}
    assert sizes == {
        "Qwen3-0.6B": 596_049_920,
        "Qwen3-1.7B": 1_720_574_976,
        "Qwen3-4B": 4_022_468_096,
        "ChatGLM3-6B": 6_243_584_000,
        "Qwen3-8B": 8_190_735_360,
        "Qwen3-14B": 14_768_307_200,
    }
    assert list(sizes.values()) == sorted(sizes.values())
