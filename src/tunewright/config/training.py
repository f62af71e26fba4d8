"""Knobs of ``train``."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tunewright.config.base import StageConfig
from tunewright.config.reinforcement import GrpoConfig, RlConfig, RlooConfig

TunerName = Literal["lora", "full", "freeze", "ia3", "prefix", "bottleneck"]
TrackerName = Literal["wandb", "mlflow", "swanlab", "trackio"]
WATCHING = (
    "keep_checkpoints",
    "watch.preview",
    "watch.wait_for_disk",
    "watch.tensorboard",
    "watch.trackers",
    "memory.micro_tokens",
    "memory.checkpointing",
    "memory.rehearse",
    "memory.force",
)
"""Knobs of a run that change nothing in what it learns."""
MethodName = Literal["sft", "pretrain", "dpo", "kto", "orpo", "simpo", "reward", "grpo", "rloo"]


class LoraConfig(StageConfig):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): W' = W + (alpha / rank) · B·A."""

    rank: int = Field(
        default=16, ge=1, le=1024, json_schema_extra={"flag": "--rank", "chosen": True}
    )
    """Rank r of A (r, in) and B (out, r)."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale of the adapter; the effective factor is alpha / rank."""
    scaling: Literal["standard", "rslora"] = "standard"
    """standard: alpha / rank; rslora: alpha / √rank, steadier at high ranks (arXiv 2312.03732)."""
    dora: bool = False
    """Learn magnitudes apart from directions (DoRA, arXiv 2402.09353); slower."""
    plus: float = Field(default=1.0, ge=1, le=1000)
    """B's learning rate as a multiple of A's (LoRA+, arXiv 2402.12354, uses 16); 1 is off."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of inputs to A that is zeroed while training."""
    targets: tuple[str, ...] = ("all-linear",)
    """Linear layers to adapt: all-linear (but the head), attention, mlp, q_proj, *.layers.1?.*…"""
    exclude: tuple[str, ...] = ()
    """Layers to leave out of the targets, named in the same ways."""


class FreezeConfig(StageConfig):
    """Full tuning of the last blocks only."""

    blocks: int = Field(default=2, ge=1)
    """Blocks to train, counted from the last; everything else stays as it is."""


class Ia3Config(StageConfig):
    """One learnt factor per channel (Liu et al. 2022, arXiv 2205.05638)."""

    targets: tuple[str, ...] = ()
    """Layers whose outputs are scaled; the keys' and values' projections when not given."""
    feedforward: tuple[str, ...] = ()
    """Layers whose inputs are scaled; the last layer of every MLP when not given."""


class PrefixConfig(StageConfig):
    """Learnt keys and values before every text (Li & Liang 2021; Liu et al. 2022)."""

    tokens: int = Field(default=32, ge=1, le=4096, json_schema_extra={"flag": "--pre-seq-len"})
    """Length of the prefix; ChatGLM's scripts call it pre_seq_len and use 128."""
    projection: int = Field(default=0, ge=0, le=65536)
    """Width of the MLP that makes the prefix while training; 0 trains the prefix directly."""


class BottleneckConfig(StageConfig):
    """Small layers after the sublayers (Houlsby et al. 2019; Pfeiffer et al. 2021)."""

    size: int = Field(default=64, ge=1, le=65536)
    """Width of the bottleneck."""
    placement: Literal["mlp", "both"] = "mlp"
    """mlp: after every MLP (Pfeiffer); both: also after every attention (Houlsby)."""


class SftConfig(StageConfig):
    """Supervised fine-tuning: learn the answers of conversations."""

    loss_on: Literal["assistant", "all", "last"] = Field(
        default="assistant", json_schema_extra={"flag": "--loss-on"}
    )
    """assistant: every answer; last: the last answer only; all: every token, questions too."""


class DpoConfig(StageConfig):
    """Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290)."""

    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """sigmoid: DPO; ipo: squared distance to a margin (arXiv 2310.12036); hinge (2305.10425)."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How firmly the model is held to what it was; with ipo the paper's τ."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of pairs taken to be the wrong way round (loss sigmoid only)."""
    rpo_alpha: float = Field(default=0.0, ge=0, le=100)
    """Weight of also learning the better answers as sft does (arXiv 2404.19733); 0 is off."""

    @model_validator(mode="after")
    def _smoothing_has_meaning(self) -> Self:
        if self.label_smoothing and self.loss != "sigmoid":
            raise ValueError(f"label_smoothing has no meaning for loss {self.loss}; leave it at 0")
        return self


class KtoConfig(StageConfig):
    """Kahneman-Tversky optimization from good and bad answers (arXiv 2402.01306)."""

    beta: float = Field(default=0.1, gt=0, le=10)
    """How firmly the model is held to what it was."""
    desirable_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the good answers."""
    undesirable_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the bad answers."""


class OrpoConfig(StageConfig):
    """Odds-ratio preference optimization without a reference (arXiv 2403.07691)."""

    beta: float = Field(default=0.1, ge=0, le=10)
    """Weight of the odds ratio beside learning the better answer; the paper's λ."""
    loss_on: Literal["all", "answer"] = "all"
    """What is learnt of a better row: its question too, as the authors' code does, or not."""


class SimpoConfig(StageConfig):
    """Simple preference optimization by mean log-probability (arXiv 2405.14734)."""

    beta: float = Field(default=2.0, gt=0, le=100)
    """Scale of the difference between the answers' mean log-probabilities."""
    gamma: float = Field(default=0.5, ge=0, le=100)
    """Margin by which the better answer is to lead."""


class RewardConfig(StageConfig):
    """A reward model from pairs of answers (Bradley & Terry 1952; arXiv 2009.01325)."""

    centering: float = Field(default=0.01, ge=0, le=100)
    """Weight of drawing a pair's scores towards zero in sum (arXiv 2312.09244); 0 is off."""


class OptimizerConfig(StageConfig):
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up and a cosine decay."""

    learning_rate: float | None = Field(
        default=None, gt=0, le=1, json_schema_extra={"flag": "--learning-rate"}
    )
    """Peak learning rate; chosen from method, tuner and the base's size when not given."""
    multiplier: float | None = Field(default=None, gt=0, le=1000)
    """Multiplies the learning rate that is chosen; OpenAI's learning_rate_multiplier."""
    auto: bool = Field(default=False, json_schema_extra={"flag": "--auto-lr"})
    """Try a third, one and three times the learning rate briefly, and train with the best."""
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

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.learning_rate is not None and self.multiplier is not None:
            raise ValueError("learning_rate and multiplier exclude each other; give one of them")
        return self


class WatchConfig(StageConfig):
    """How a run is watched, and when it ends or gives up by itself."""

    patience: int = Field(default=5, ge=0, le=1000, json_schema_extra={"flag": "--patience"})
    """Validations without a lower loss after which the run ends with its best; 0 never ends it."""
    preview: int = Field(default=3, ge=0, le=20, json_schema_extra={"flag": "--preview"})
    """Validation questions answered for you to read at every validation; 0 is off."""
    wait_for_disk: float = Field(
        default=10.0, ge=0, le=10080, json_schema_extra={"flag": "--wait-for-disk"}
    )
    """Minutes that a run waits on a full disk for room before it gives up."""
    tensorboard: str | None = Field(default=None, json_schema_extra={"flag": "--tensorboard"})
    """Folder to write TensorBoard event files to."""
    trackers: tuple[TrackerName, ...] = Field(default=(), json_schema_extra={"flag": "--trackers"})
    """Services that get the curves as well; each needs its own package."""


class MemoryConfig(StageConfig):
    """How a run fits the memory; none of it changes what is learnt."""

    micro_tokens: int | None = Field(
        default=None, ge=16, json_schema_extra={"flag": "--micro-tokens", "chosen": True}
    )
    """Most tokens that go through the model at once; a step's batch is divided into such parts."""
    checkpointing: Literal["auto", "none", "selective", "full"] = Field(
        default="auto", json_schema_extra={"flag": "--checkpointing"}
    )
    """Activations made again instead of kept: of MLPs (selective) or all; auto: as memory asks."""
    rehearse: Literal["auto", "always", "never"] = "auto"
    """Try the longest step, validation and a save first; auto: on a GPU, or if memory is tight."""
    force: bool = False
    """Begin although the plan says that the memory does not suffice."""


REWARDED = frozenset({"grpo", "rloo"})
"""Methods that raise rewards; their loss does not fall when they learn."""
# What OpenAI's fine-tuning API calls some options.
_OPENAI = {
    "n_epochs": ("epochs",),
    "batch_size": ("batch_rows",),
    "learning_rate_multiplier": ("optimizer", "multiplier"),
}


class TrainConfig(StageConfig):
    """Dataset + base → Run and Model."""

    dataset: str
    """Dataset id or name; 'latest' is the newest."""
    base: str = "nano"
    """Start: nano, a local folder, a Hugging Face id, modelscope:ID, or a tuned model (ft:…)."""
    method: MethodName = "sft"
    """What is learnt: answers (sft), text (pretrain), pairs (dpo), ratings (kto), rewards (grpo)"""
    suffix: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    """Middle part of the tuned model's name; the dataset's name when not given."""
    epochs: float | None = Field(default=None, gt=0, le=1000)
    """Passes over the training rows; chosen by method and number of rows; max_steps wins."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps."""
    batch_tokens: int = Field(default=1024, ge=16, json_schema_extra={"chosen": True})
    """Tokens per optimizer step; whole conversations are packed up to it without padding."""
    batch_rows: int | None = Field(default=None, ge=1)
    """Sets batch_tokens to so many rows of mean length; OpenAI's batch_size."""
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
    tuner: TunerName = "lora"
    """What is trained; all but freeze and full leave the base as it is."""
    quantize: Literal["none", "nf4", "int8"] = "none"
    """Hold the frozen base in 4 or 8 bits (QLoRA, arXiv 2305.14314); nf4 needs bitsandbytes."""
    lora: LoraConfig = LoraConfig()
    freeze: FreezeConfig = FreezeConfig()
    ia3: Ia3Config = Ia3Config()
    prefix: PrefixConfig = PrefixConfig()
    bottleneck: BottleneckConfig = BottleneckConfig()
    sft: SftConfig = SftConfig()
    dpo: DpoConfig = DpoConfig()
    kto: KtoConfig = KtoConfig()
    orpo: OrpoConfig = OrpoConfig()
    simpo: SimpoConfig = SimpoConfig()
    reward: RewardConfig = RewardConfig()
    rl: RlConfig = RlConfig()
    grpo: GrpoConfig = GrpoConfig()
    rloo: RlooConfig = RlooConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    memory: MemoryConfig = MemoryConfig()
    watch: WatchConfig = WatchConfig()

    @model_validator(mode="after")
    def _rates_can_be_told_apart(self) -> Self:
        if self.optimizer.auto and self.method in REWARDED:
            raise ValueError(
                f"optimizer.auto compares losses, which say nothing of method {self.method}; give "
                "a learning rate, or leave it to be chosen"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _openai_names(cls, values: Any) -> Any:
        """OpenAI's names for options become ours, and its ``auto`` leaves them to be chosen.

        Raises:
            ValueError: an option is given under both names.
        """
        if not isinstance(values, dict) or not _OPENAI.keys() & values.keys():
            return values
        renamed = {key: value for key, value in values.items() if key not in _OPENAI}
        for name in _OPENAI.keys() & values.keys():
            *groups, last = _OPENAI[name]
            target = renamed
            for group in groups:
                target[group] = dict(target.get(group) or {})
                target = target[group]
            if target.get(last) is not None:
                raise ValueError(f"{name} is another name for {'.'.join(_OPENAI[name])}; give one")
            if values[name] != "auto":
                target[last] = values[name]
        return renamed
