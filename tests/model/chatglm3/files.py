"""A small random ChatGLM3: its folder as the hub has it, and its arithmetic written down again."""

from __future__ import annotations

import json
import math
import string
import struct
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

PIECES = 64789
CONFIG: dict[str, Any] = {
    "model_type": "chatglm",
    "architectures": ["ChatGLMModel"],
    "auto_map": {"AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration"},
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "ffn_hidden_size": 24,
    "hidden_size": 32,
    "kv_channels": 8,
    "layernorm_epsilon": 1e-5,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 4,
    "num_layers": 2,
    "original_rope": True,
    "padded_vocab_size": 65024,
    "post_layer_norm": True,
    "rmsnorm": True,
    "seq_length": 256,
    "torch_dtype": "float32",
}
WORDS = (
    ("▁", -3.0), ("▁p", -9.0), ("eo", -4.0), ("pl", -5.0), ("ple", -6.5), ("eopl", -7.0),
    ("▁people", -8.0), ("eople", -7.5), ("op", -6.0), ("你好", -4.5), ("▁你", -5.5), ("▁▁", -2.0),
    ("aa", -3.5), ("aaa", -3.6), ("▁a", -3.2), ("▁你好", -6.1), ("ab", -3.3), ("aab", -3.1),
)  # fmt: skip
"""Pieces of several characters with their scores."""
LETTERS = f"{string.ascii_letters}{string.digits}<>|[]/_.,:=(){{}}\"'`你好世界的试用期"


def _field(number: int, value: bytes | int | float) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def vocabulary() -> list[tuple[str, float, int]]:
    """Piece, score and kind; single characters that nobody uses fill it up."""
    special = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    found = special + [(f"<0x{n:02X}>", 0.0, 6) for n in range(256)]
    found += [(text, score, 1) for text, score in WORDS]
    found += [(letter, -20.0 - n, 1) for n, letter in enumerate(LETTERS)]
    free = PIECES - len(found)
    return found + [(chr(0x20000 + n), -1000.0 - n, 1) for n in range(free)]


def pieces_file(normalizer: bytes = b"identity", pieces: int | None = None) -> bytes:
    """A SentencePiece model with these pieces, in its wire format."""
    data = b"".join(
        _field(1, _field(1, text.encode()) + _field(2, score) + _field(3, kind))
        for text, score, kind in vocabulary()[:pieces]
    )
    data += _field(2, _field(3, 2) + _field(35, 1))
    return data + _field(3, _field(1, normalizer) + _field(3, 1) + _field(4, 0) + _field(5, 1))


def weights(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under ChatGLM3's names."""
    torch.manual_seed(seed)
    hidden, inner, head = CONFIG["hidden_size"], CONFIG["ffn_hidden_size"], CONFIG["kv_channels"]
    heads, groups = CONFIG["num_attention_heads"], CONFIG["multi_query_group_num"]
    found = {
        "embedding.word_embeddings.weight": torch.randn(CONFIG["padded_vocab_size"], hidden),
        "rotary_pos_emb.inv_freq": torch.ones(head // 4),
    }
    for number in range(CONFIG["num_layers"]):
        block = f"encoder.layers.{number}."
        rows = (heads + 2 * groups) * head
        found |= {
            f"{block}input_layernorm.weight": 1 + torch.randn(hidden) / 4,
            f"{block}self_attention.query_key_value.weight": torch.randn(rows, hidden) / 3,
            f"{block}self_attention.query_key_value.bias": torch.randn(rows),
            f"{block}self_attention.dense.weight": torch.randn(hidden, heads * head) / 3,
            f"{block}post_attention_layernorm.weight": 1 + torch.randn(hidden) / 4,
            f"{block}mlp.dense_h_to_4h.weight": torch.randn(2 * inner, hidden) / 3,
            f"{block}mlp.dense_4h_to_h.weight": torch.randn(hidden, inner) / 3,
        }
    found["encoder.final_layernorm.weight"] = 1 + torch.randn(hidden) / 4
    found["output_layer.weight"] = torch.randn(CONFIG["padded_vocab_size"], hidden) / 3
    return {f"transformer.{name}": tensor for name, tensor in found.items()}


def write_folder(folder: Path, kind: str = "safetensors") -> dict[str, Tensor]:
    """The whole folder; the weights as ``safetensors``, as one ``bin``, or as two ``shards``."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "tokenizer.model").write_bytes(pieces_file())
    tokenizer = {"auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    tensors = weights()
    if kind == "safetensors":
        save_file(tensors, folder / "model.safetensors")
    elif kind == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        names = list(tensors)
        parts = {f"pytorch_model-0000{n}-of-00002.bin": names[n - 1 :: 2] for n in (1, 2)}
        for file, own in parts.items():
            torch.save({name: tensors[name] for name in own}, folder / file)
        places = {name: file for file, own in parts.items() for name in own}
        index = {"weight_map": places}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    return tensors


def forward(tensors: dict[str, Tensor], ids: Tensor) -> Tensor:
    """ChatGLM3's logits (batch, seq, vocab) for ids (batch, seq), in float32, from its names."""
    own = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    head, heads = CONFIG["kv_channels"], CONFIG["num_attention_heads"]
    groups, eps = CONFIG["multi_query_group_num"], CONFIG["layernorm_epsilon"]
    x = own["embedding.word_embeddings.weight"][ids]
    batch, length = ids.shape
    hidden_future = torch.full((length, length), -math.inf).triu(1)
    for number in range(CONFIG["num_layers"]):
        block = f"encoder.layers.{number}."
        y = _norm(x, own[f"{block}input_layernorm.weight"], eps)
        fused = f"{block}self_attention.query_key_value"
        mixed = F.linear(y, own[f"{fused}.weight"], own[f"{fused}.bias"])
        q, k, v = mixed.split([heads * head, groups * head, groups * head], dim=-1)
        q = _rotated(q.view(batch, length, heads, head))
        k = _rotated(k.view(batch, length, groups, head)).repeat_interleave(heads // groups, 2)
        v = v.view(batch, length, groups, head).repeat_interleave(heads // groups, 2)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(head) + hidden_future
        mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)
        x = x + F.linear(mixed, own[f"{block}self_attention.dense.weight"])
        y = _norm(x, own[f"{block}post_attention_layernorm.weight"], eps)
        gate, up = F.linear(y, own[f"{block}mlp.dense_h_to_4h.weight"]).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * up, own[f"{block}mlp.dense_4h_to_h.weight"])
    x = _norm(x, own["encoder.final_layernorm.weight"], eps)
    return F.linear(x, own["output_layer.weight"])


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def _rotated(x: Tensor) -> Tensor:
    """Pairs of neighbours in the first half of the channels turn with the place, (b, s, h, d)."""
    half = x.shape[-1] // 2
    rates = 10_000.0 ** -(torch.arange(0, half, 2) / half)
    angles = torch.arange(x.shape[1])[:, None] * rates
    cos, sin = angles.cos()[None, :, None], angles.sin()[None, :, None]
    even, odd = x[..., :half:2], x[..., 1:half:2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
    return torch.cat([turned, x[..., half:]], -1)
