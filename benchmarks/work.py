"""The measured work: a random 29.4M-parameter Qwen3 and chat rows, made here, from seed 0.

Every word is one token, so lengths are exact: with the default 2,000 rows their quantiles are
near 55 / 117 / 291 / 478 (5 %, 50 %, 95 %, longest), about three quarters of the tokens learnt,
as in short business questions and answers.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

VOCABULARY = 8192
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "user", "assistant")
SHORTEST, LONGEST = 30, 478
# Tokens that a conversation of two messages has besides its words.
FRAME = 6
# The markers tell TRL which tokens are the assistant's; they change no text.
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|im_start|> assistant "
    "{% generation %}{{ m['content'] }} <|im_end|>{% endgeneration %} "
    "{% else %}<|im_start|> {{ m['role'] }} {{ m['content'] }} <|im_end|> {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": VOCABULARY,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "dtype": "float32",
}


def make_work(folder: Path, rows: int, config: dict[str, Any] = CONFIG) -> None:
    """Write ``model/`` and ``chat.jsonl`` into a folder."""
    model = folder / "model"
    model.mkdir(parents=True)
    _write_tokenizer(model, config)
    _write_weights(model)
    with open(folder / "chat.jsonl", "w", encoding="utf-8") as file:
        for messages in chat_rows(rows):
            file.write(json.dumps({"messages": messages}) + "\n")


def chat_rows(count: int) -> list[list[dict[str, str]]]:
    """Two-message conversations; words follow Zipf's law, so that there is something to learn."""
    draw = random.Random(0)
    words = [f"w{index}" for index in range(VOCABULARY - len(SPECIALS))]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    conversations = []
    for _ in range(count):
        length = round(math.exp(draw.gauss(math.log(117), 0.52)))
        total = min(max(length, SHORTEST), LONGEST) - FRAME
        asked = max(3, round(0.2 * total))
        text = draw.choices(words, weights, k=total)
        conversations.append(
            [
                {"role": "user", "content": " ".join(text[:asked])},
                {"role": "assistant", "content": " ".join(text[asked:])},
            ]
        )
    return conversations


def _write_tokenizer(folder: Path, config: dict[str, Any]) -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    words = [*SPECIALS, *(f"w{index}" for index in range(VOCABULARY - len(SPECIALS)))]
    table = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token=SPECIALS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(
        [AddedToken(word, special=True, normalized=False) for word in SPECIALS[:3]]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "model_max_length": 2048,
            }
        ),
        encoding="utf-8",
    )


def _write_weights(folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
