"""Knobs of ``train``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunewright.config.base import StageConfig


class LoraConfig(StageConfig):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): W' = W + (alpha / rank) · B·A."""

    rank: int = Field(default=16, ge=1, le=1024, json_schema_extra={"flag": "--rank"})
    """Rank r of A (r, in) and B (out, r)."""
    alpha: float = Field(default=32, gt=0)
    """Scale of the adapter; the effective factor is alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of inputs to A that is zeroed while training."""
    targets: tuple[str, ...] = ("all-linear",)
    """Names of the linear layers to adapt, e.g. q_proj; all-linear takes all but the head."""


class OptimizerConfig(StageConfig):
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up and a cosine decay."""

    learning_rate: float | None = Field(
        default=None, gt=0, le=1, json_schema_extra={"flag": "--learning-rate"}
    )
    """Peak learning rate; chosen from the base's size when not given."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the end, as a share of the peak."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the gradient's running mean."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the gradient's running square."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this L2 norm."""


class TrainConfig(StageConfig):
    """Dataset + base → Run and Model."""

    dataset: str
    """Dataset id or name; 'latest' is the newest."""
    base: str = "nano"
    """Base model: nano, a local folder, a Hugging Face id, or modelscope:ID."""
    method: Literal["sft"] = "sft"
    """Training method: sft learns the assistant's answers."""
    suffix: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    """Middle part of the tuned model's name; the dataset's name when not given."""
    epochs: float = Field(default=3.0, gt=0, le=1000)
    """Passes over the training rows; max_steps wins over it."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps."""
    batch_tokens: int = Field(default=1024, ge=16)
    """Tokens per optimizer step; whole conversations are packed up to it without padding."""
    save_steps: int = Field(default=50, ge=1)
    """Steps between checkpoints (and a last one at the end)."""
    eval_steps: int = Field(default=50, ge=1)
    """Steps between validation losses."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints kept besides the best one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the forward and backward pass; auto is bfloat16 where the machine has it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Order of rows, initial adapter and dropout."""
    lora: LoraConfig = LoraConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
