"""Knobs of ``export``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunewright.config.base import StageConfig

FormatName = Literal["merged", "adapter", "gguf", "chatglm3", "compressed-tensors", "bitsandbytes"]
GgufType = Literal[
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0",
    "q4_k_m", "q4_k_s", "q4_1", "q4_0", "q3_k_m", "q2_k",
]  # fmt: skip


class ToleranceConfig(StageConfig):
    """How far an export may be from the tuned model; the format decides what is not given."""

    logits: float | None = Field(default=None, gt=0)
    """Largest difference of any logit; 1e-4 for exports in float32, unbounded for others."""
    divergence: float | None = Field(default=None, gt=0)
    """Largest mean Kullback-Leibler divergence of the next token, in nats."""
    agreement: float | None = Field(default=None, gt=0, le=1)
    """Least share of tokens that are the likeliest of both."""
    endings: float | None = Field(default=None, gt=0, le=1)
    """Least share of answers that end the same way: with an end token, or not."""


class ParityConfig(StageConfig):
    """How the export is compared with the tuned model."""

    check: bool = True
    """Read the export back and compare it; what is not compared is marked so."""
    dataset: str | None = None
    """Dataset whose locked test prompts are asked; the one that the model was tuned on."""
    prompts: int = Field(default=16, ge=1, le=2000)
    """Most prompts."""
    max_new_tokens: int = Field(default=64, ge=1, le=4096)
    """Longest answer, in tokens."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of both sides; bfloat16 takes half the memory and hides small differences."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where both sides are computed, one after the other."""
    tolerance: ToleranceConfig = ToleranceConfig()


class QuantizeConfig(StageConfig):
    """How exports for GPU servers round the matrices of the network's blocks."""

    bits: int = Field(default=4, ge=4, le=8, multiple_of=4)
    """Of each weight, 4 or 8; in bitsandbytes 4 is nf4 and 8 is int8."""
    method: Literal["gptq", "nearest"] = "gptq"
    """Keep layers' outputs on training rows close (gptq, arXiv 2210.17323), or each weight."""
    group: int = Field(default=128, ge=32, le=128)
    """Most neighbouring weights that share a scale: 128, 64 or 32, whichever divides the rows."""
    dataset: str | None = None
    """Dataset whose training rows gptq uses; the one that the model was tuned on."""
    rows: int = Field(default=512, ge=1, le=8192)
    """Most training rows that gptq uses."""
    tokens: int = Field(default=2048, ge=16, le=32768)
    """Most tokens of a row that gptq reads, and of rows that are computed together."""
    damping: float = Field(default=0.01, gt=0, le=1)
    """How little gptq trusts the rows: share of the inputs' mean square that is added to each."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where gptq computes."""


class ExportConfig(StageConfig):
    """Tuned model → files that other programs load, proven equal."""

    model: str = "latest"
    """Tuned model (name, id or 'latest'), checkpoint RUN@STEP, or a base."""
    to: FormatName = "merged"
    """One model (merged), PEFT's folder, GGUF for llama.cpp, ChatGLM3's original layout, or 4 or 8
    bits for GPU servers (compressed-tensors, bitsandbytes)."""
    output: str | None = None
    """Folder to make; exports/NAME-FORMAT in the home folder when not given."""
    overwrite: bool = False
    """Replace the folder if it exists."""
    dtype: Literal["base", "float32", "bfloat16", "float16"] = "base"
    """Type of merged weights; 'base' keeps the base's own."""
    gguf: GgufType = "f16"
    """Matrices of a GGUF file, most bits first: q8_0 is safe, q4_k_m small; the rest is float32."""
    shard_gb: float = Field(default=5.0, gt=0, le=1000)
    """Largest file of merged weights, in GB."""
    quantize: QuantizeConfig = QuantizeConfig()
    parity: ParityConfig = ParityConfig()


class ServedConfig(StageConfig):
    """Tuned model and an endpoint that serves it → whether both give the same answers."""

    model: str = "latest"
    """Tuned model (name, id or 'latest'), checkpoint RUN@STEP, or a base."""
    endpoint: str
    """Base URL of an OpenAI-compatible API, e.g. http://127.0.0.1:8000/v1."""
    served_as: str | None = None
    """The endpoint's name for the model; the model's own when not given."""
    key_file: str | None = None
    """File that holds the API key; otherwise the variable TUNEWRIGHT_ENDPOINT_KEY."""
    dataset: str | None = None
    """Dataset whose locked test prompts are asked; the one that the model was tuned on."""
    prompts: int = Field(default=16, ge=1, le=2000)
    """Most prompts."""
    max_new_tokens: int = Field(default=64, ge=16, le=4096)
    """Longest answer, in tokens."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the tuned model here."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it is computed."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Most memory that it may take there, in GB; what is free when not given."""
    identical: float = Field(default=0.9, gt=0, le=1)
    """Least share of answers that are the same but for rounding between near-equal tokens."""
