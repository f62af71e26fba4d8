"""Writes the trained model as a Hugging Face folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from .model import Nano, Shape
from .tokenizer import END, END_OF_TEXT, special_ids

CONTEXT = 2048
TEMPLATE = Path(__file__).parent / "chat_template.jinja"


def config(shape: Shape, ids: dict[str, int]) -> dict[str, Any]:
    """config.json of a Qwen3 model of this shape."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": ids[END],
        "pad_token_id": ids[END_OF_TEXT],
        "torch_dtype": "bfloat16",
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write(folder: Path, weights: dict[str, Tensor], shape: Shape, tokenizer: Tokenizer) -> None:
    """Write weights (as bfloat16), configuration, tokenizer and chat template to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = special_ids(tokenizer)
    _write(folder / "config.json", config(shape, ids))
    _write(
        folder / "generation_config.json",
        {
            "do_sample": False,
            "eos_token_id": [ids[END], ids[END_OF_TEXT]],
            "pad_token_id": ids[END_OF_TEXT],
            "max_new_tokens": 128,
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "pad_token": END_OF_TEXT,
            "bos_token": None,
            "unk_token": None,
            "add_bos_token": False,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONTEXT,
            "split_special_tokens": False,
        },
    )
    shutil.copyfile(TEMPLATE, folder / TEMPLATE.name)
    half = {
        name: weight.detach().to(torch.bfloat16).contiguous() for name, weight in weights.items()
    }
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def check_against_transformers(folder: Path, model: Nano) -> float:
    """Largest difference between our logits and those of transformers, both in float32."""
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours = Nano(model.shape)
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k != "lm_head.weight"})
    ids = torch.randint(0, model.shape.vocab, (3, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine = ours.logits(ours.hidden_states(ids))
        return float((mine - theirs(ids).logits).abs().max())
