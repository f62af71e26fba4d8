"""Sizes of well-known bases, for tables and for saying what would fit instead."""

from __future__ import annotations

from collections.abc import Mapping

from tunewright.model.shapes import Shape, shape_of

# name: (hidden, layers, query heads, MLP, embedding is the head), as their configs say.
_QWEN3 = {
    "Qwen3-0.6B": (1024, 28, 16, 3072, True),
    "Qwen3-1.7B": (2048, 28, 16, 6144, True),
    "Qwen3-4B": (2560, 36, 32, 9728, True),
    "Qwen3-8B": (4096, 36, 32, 12288, False),
    "Qwen3-14B": (5120, 40, 40, 17408, False),
}
_CHATGLM3 = {
    "model_type": "chatglm",
    "hidden_size": 4096,
    "num_layers": 28,
    "ffn_hidden_size": 13696,
    "num_attention_heads": 32,
    "multi_query_group_num": 2,
    "kv_channels": 128,
    "padded_vocab_size": 65024,
    "add_qkv_bias": True,
    "seq_length": 8192,
}


def known_shapes() -> Mapping[str, Shape]:
    """Name → sizes, smallest first."""
    shapes = {name: _qwen3(*sizes) for name, sizes in _QWEN3.items()}
    shapes["ChatGLM3-6B"] = shape_of(_CHATGLM3)
    return dict(sorted(shapes.items(), key=lambda item: item[1].parameters))


def _qwen3(hidden: int, layers: int, heads: int, inner: int, tied: bool) -> Shape:
    return shape_of(
        {
            "model_type": "qwen3",
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": inner,
            "vocab_size": 151936,
            "max_position_embeddings": 40960,
            "tie_word_embeddings": tied,
        }
    )
