"""Memory, disk and time of a run, told before anything is loaded.

Memory is counted tensor by tensor, from what autograd keeps of a packed block of the family in
``shapes``. Time is a share of what the machine multiplies, by the operations of a token. Both are
estimates; ``corrected`` puts measured speed in the place of the second.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tunewright.config.training import TrainConfig
from tunewright.model.shapes import Role, Shape
from tunewright.training.counts import adapted, trained_weights, trains_base

Precision = Literal["float32", "bfloat16"]
DeviceName = Literal["cpu", "cuda"]
_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2}
_FLOAT32 = 4
# Per weight: 4 bits, an 8-bit scale per 64 of them, a float32 per 256 scales (arXiv 2305.14314).
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
_INT8 = 1.0
_RETURNED = 32 * 2**20
"""glibc gives larger pieces back to the system: DEFAULT_MMAP_THRESHOLD_MAX, see mallopt(3)."""
_LAST = ("o_proj", "down_proj")
_MOMENTS = 8  # AdamW's two running means in float32
# float32 each: the log-probabilities that cross-entropy keeps, and both gradients of its backward.
_PER_LOGIT = 12
_CHUNK_ELEMENTS = 2**26  # logits that the methods for pairs and ratings turn to float32 at once
RUNTIME: dict[DeviceName, float] = {"cpu": 0.6e9, "cuda": 0.7e9}
"""What a process holds without a model: libraries; on a GPU the context and its workspaces."""
_FRAGMENTS = {"cuda": 1.04, "float32": 1.32, "bfloat16": 1.5, "autocast": 1.9}
"""What allocators hold for each byte that passes hold. PyTorch's on a GPU rounds a little. On a
processor the C library's heap does not fit every tensor into the holes of the last step, the less
the more sizes there are, as where autocast turns trained weights and what they meet into bfloat16.
The slopes of what benchmarks/memory_plan.py measured at 512, 1,024 and 2,048 tokens."""
_BUFFERS = {"float32": 0.075e9, "bfloat16": 0.12e9}
"""On a processor, whatever the model: what libraries set up for their first products, and in
bfloat16 the code that oneDNN compiles for every size."""


@dataclass(frozen=True)
class Batch:
    """What one forward pass gets.

    Attributes:
        tokens: in all its documents.
        learnt: positions whose next token is learnt.
        length: tokens of a usual document, for the cost of attention.
    """

    tokens: int
    learnt: int
    length: int


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they are for.

    Attributes:
        weights: of the base, and of what is trained beside it, as they are held.
        gradients: of what is trained, at the end of a backward pass.
        optimizer: AdamW's running means.
        activations: what the backward pass needs of the forward pass.
        logits: of the learnt positions, with what the loss makes of them.
        overhead: the process itself, and scratch.
        loading: the most that is held while the base is loaded, without the overhead.
        slack: what the allocator holds for each byte of activations and logits.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int
    loading: int = 0
    slack: float = 1.0

    @property
    def peak(self) -> int:
        """The most that is held at once.

        Gradients grow while activations go, so that the larger of the two counts: the logits'
        moment, when all activations are there, or the end of the backward pass. Checkpoints are
        written straight from the tensors.
        """
        moment = max(round((self.activations + self.logits) * self.slack), self.gradients)
        return self.overhead + max(self.loading, self.weights + self.optimizer + moment)

    def data(self) -> dict[str, int]:
        """All parts and the peak."""
        return {**asdict(self), "peak": self.peak}


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        trained: weights that are trained.
        memory: at its most.
        checkpoint: bytes of one checkpoint on disk.
        disk: bytes of all that are kept, and of the one being written.
        flops: operations per token.
        tokens: that are trained on in the whole run.
        tokens_per_second: or None when the machine's speed is not known.
        measured: whether the speed was measured in the run itself.
        bound: whether it is the most that it can be: answers that are drawn may end earlier.
    """

    trained: int
    memory: Memory
    checkpoint: int
    disk: int
    flops: float
    tokens: int = 0
    tokens_per_second: float | None = None
    measured: bool = False
    bound: bool = False

    @property
    def seconds(self) -> float | None:
        """Of the whole run; None when the speed is not known."""
        if self.tokens_per_second is None:
            return None
        return self.tokens / self.tokens_per_second

    def data(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {**asdict(self), "memory": self.memory.data(), "seconds": self.seconds}


def estimate(
    shape: Shape,
    config: TrainConfig,
    batch: Batch,
    device: DeviceName,
    precision: Precision,
    stored: int | None = None,
) -> Estimate:
    """What a recipe takes.

    Args:
        shape: of the base.
        config: the recipe; rank, targets, tuner, quantisation and method are read from it.
        batch: the largest one.
        device: where it runs.
        precision: of the arithmetic.
        stored: bytes of the base's files; as many as the precision takes when not known.
    """
    trained = trained_weights(shape, config)
    width = _BYTES[precision]
    memory = Memory(
        weights=_weights(shape, config, trained, width),
        gradients=_FLOAT32 * trained,
        optimizer=_MOMENTS * trained,
        activations=round(_activations(shape, config, batch, width)),
        logits=_logits(shape, config, batch, width),
        overhead=round(
            _runtime(device, precision)
            + _scratch(shape, config, batch, width)
            + (_holes(shape, config, width, stored) if device == "cpu" else 0)
        ),
        loading=_loading(shape, config, device, width, stored),
        slack=_slack(config, device, precision),
    )
    checkpoint = (_FLOAT32 + _MOMENTS) * trained
    return Estimate(
        trained=trained,
        memory=memory,
        checkpoint=checkpoint,
        # The kept ones, the best one, and the one that is written before the oldest goes.
        disk=checkpoint * (config.keep_checkpoints + 2) + _FLOAT32 * trained,
        flops=flops_per_token(shape, config, batch),
    )


def _weights(shape: Shape, config: TrainConfig, trained: int, width: int) -> int:
    """Weights as they are held, trained ones in float32, with their narrow copies of a step."""
    narrow = trained * width if width < _FLOAT32 else 0
    frozen = shape.parameters - (trained if trains_base(config) else 0)
    return round(frozen * width - _saved(shape, config, width) + trained * _FLOAT32 + narrow)


def _saved(shape: Shape, config: TrainConfig, width: int) -> float:
    """What quantising the linear layers saves."""
    rows = shape.layers * sum(linear.outputs for linear in shape.linears)
    held = {
        "none": shape.linear_weights * width,
        "nf4": shape.linear_weights * _NF4,
        "int8": shape.linear_weights * _INT8 + rows * width,
    }
    return shape.linear_weights * width - held[config.quantize]


def _activations(shape: Shape, config: TrainConfig, batch: Batch, width: int) -> float:
    """What the backward pass needs of the forward pass.

    Checkpointed (Chen et al. 2016, arXiv 1604.06174), it is the input of every block, and all of
    one block at a time; selectively, it is all but what is inside the MLPs, and one MLP at a time.
    """
    layers = config.freeze.blocks if config.tuner == "freeze" else shape.layers
    layers = min(layers, shape.layers)
    block = block_activations(shape, config, width)
    mlp = mlp_activations(shape, config, width)
    trains_all = config.tuner == "full"
    # The last norm has an input, too; but the first one's is kept for trained embeddings only.
    ends = 2 * _FLOAT32 * shape.hidden if trains_all else 0
    angles = 2 * shape.head_dim * width
    # Embeddings in float32 make the whole residual stream so, trained norms what comes out of them.
    residual = _FLOAT32 if trains_all else width
    normed = _FLOAT32 if trains_base(config) else width
    kept = {
        "selective": layers * (block - mlp + shape.hidden * normed) + mlp,
        "full": shape.hidden * (shape.layers * residual + (0 if trains_all else _FLOAT32)) + block,
    }
    per_token = kept.get(config.memory.checkpointing, layers * block)
    return batch.tokens * (per_token + ends + angles)


def block_activations(shape: Shape, config: TrainConfig, width: int) -> float:
    """Bytes per token that autograd keeps of one block.

    - norms of the residual stream: the input in float32; of trained ones the normalised input too;
    - norms of queries and keys: the same, and the narrow result of trained ones;
    - inputs of linear layers that have something to learn: once per input for LoRA's, a narrow
      copy per layer where trained weights are computed in bfloat16;
    - attention: queries, keys, values, the output (Dao 2023, arXiv 2307.08691);
    - gated MLP: gate, its activation, the other half.
    """
    trains = trains_base(config)
    heads = shape.queries + shape.keys if shape.head_norms else 0
    norms = 2 * shape.hidden * _FLOAT32 * (2 if trains else 1) + heads * _FLOAT32
    if trains:
        norms += heads * width
    attention = 2 * width * (shape.queries + shape.keys)
    inputs = _inputs(shape, config, width, "attention")
    return norms + attention + inputs + mlp_activations(shape, config, width)


def mlp_activations(shape: Shape, config: TrainConfig, width: int) -> float:
    """Those of them that are inside the MLP, its input included where it is kept."""
    return 3 * shape.inner * width + _inputs(shape, config, width, "mlp")


def _inputs(shape: Shape, config: TrainConfig, width: int, role: Role) -> float:
    """Bytes per token of linear layers' kept inputs."""
    if config.tuner in ("prefix", "ia3", "bottleneck"):
        return _beside(shape, config, width, role)
    every = list(shape.linears) if trains_base(config) else adapted(shape, config)
    layers = [one for one in every if one.role == role]
    copies = trains_base(config) and width < _FLOAT32
    dropped = config.tuner == "lora" and config.lora.dropout > 0
    if copies or dropped:  # one each; with dropout a mask of a byte each, too
        kept = sum(one.inputs for one in layers) * (width + (1 if dropped else 0))
    else:
        # The first layers of an attention or MLP share one input, the last has its own.
        kept = sum({one.name in _LAST: one.inputs for one in layers}.values()) * width
    if config.tuner != "lora":
        return kept
    magnitudes = sum(one.outputs for one in layers) * width if config.lora.dora else 0
    return kept + len(layers) * config.lora.rank * width + magnitudes


def _beside(shape: Shape, config: TrainConfig, width: int, role: Role) -> float:
    """The same of tuners that leave the linear layers alone."""
    if config.tuner == "ia3":
        return (shape.inner if role == "mlp" else 2 * shape.keys) * width
    if config.tuner == "bottleneck" and (role == "mlp" or config.bottleneck.placement == "both"):
        return (shape.hidden + config.bottleneck.size) * width
    return 0


def _logits(shape: Shape, config: TrainConfig, batch: Batch, width: int) -> int:
    """Logits of the learnt positions at the loss's costliest moment."""
    elements = batch.learnt * shape.vocabulary
    if config.method in ("sft", "pretrain") or elements <= _CHUNK_ELEMENTS:
        return _PER_LOGIT * elements
    if config.method == "reward":
        return 0
    return 2 * width * elements + _PER_LOGIT * _CHUNK_ELEMENTS


def _scratch(shape: Shape, config: TrainConfig, batch: Batch, width: int) -> int:
    """Gradients on their way, and a weight that is made anew from 4 or 8 bits."""
    passing = batch.tokens * width * (2 * shape.inner + 2 * shape.hidden)
    # Where logits are many, their moment is the peak, and these gradients are not there yet.
    passing = max(0, passing - _logits(shape, config, batch, width))
    remade = 0
    if config.quantize != "none":
        remade = width * max(one.weights for one in shape.linears)
    return passing + remade


def _runtime(device: DeviceName, precision: Precision) -> float:
    return RUNTIME[device] + (_BUFFERS[precision] if device == "cpu" else 0)


def _slack(config: TrainConfig, device: DeviceName, precision: Precision) -> float:
    autocast = trains_base(config) and precision == "bfloat16"
    return _FRAGMENTS["cuda" if device == "cuda" else "autocast" if autocast else precision]


def _holes(shape: Shape, config: TrainConfig, width: int, stored: int | None) -> float:
    """Weights as they were loaded, where they were made into something smaller.

    The C library keeps freed pieces below ``_RETURNED`` bytes, and passes seldom fit into them.
    Weights that are the file's own pages are no such pieces.
    """
    narrowed = config.tuner == "freeze" and width < _FLOAT32
    loaded = _FLOAT32 if narrowed else width
    changed = config.quantize != "none" or narrowed
    if not changed or _as_stored(shape.parameters * loaded, stored):
        return 0
    kept = sum(one.weights for one in shape.linears if one.weights * loaded < _RETURNED) * loaded
    blocks = max(0, shape.layers - config.freeze.blocks) if narrowed else shape.layers
    return blocks * kept


def _loading(
    shape: Shape, config: TrainConfig, device: DeviceName, width: int, stored: int | None
) -> int:
    """While loading on a processor, the file's pages are held beside the weights made of them."""
    if device != "cpu":
        return 0
    held = shape.parameters * (_FLOAT32 if trains_base(config) else width)
    return held if _as_stored(held, stored) else held + (stored or 0)


def _as_stored(held: int, stored: int | None) -> bool:
    """Whether weights have their files' type: they are then the files' own pages."""
    return stored is None or abs(stored - held) < held / 100


def flops_per_token(shape: Shape, config: TrainConfig, batch: Batch) -> float:
    """Operations per token of forward and backward pass.

    2 per weight forward, 2 for the gradient of the input, 2 for that of a trained weight (Kaplan
    et al. 2020, arXiv 2001.08361): 4N where the base is frozen and 6N where it is trained.
    Causal attention adds 2·length·queries per layer forward and twice that backward. The head
    works on learnt positions only. Checkpointing repeats the blocks' or the MLPs' forward pass.
    """
    share = min(1.0, config.freeze.blocks / shape.layers)
    matrices = 2 * (shape.multiplied + shape.embedding * batch.learnt / max(1, batch.tokens))
    attention = 2 * batch.length * shape.queries * shape.layers
    times = {"full": 3.0, "freeze": 1 + 2 * share}.get(config.tuner, 2.0)
    # Products of queries and keys have no weights: their backward pass is always twice as long.
    passes = 1 + 2 * share if config.tuner == "freeze" else 3.0
    repeated = {
        "selective": 2 * shape.layers * sum(o.weights for o in shape.linears if o.role == "mlp"),
        "full": 2 * shape.linear_weights + attention,
    }.get(config.memory.checkpointing, 0)
    return times * matrices + passes * attention + repeated
