"""Which linear layers an adapter goes to, told by names, roles or patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from tunewright.core.errors import ConfigError
from tunewright.model.tuners.slots import AdaptedLinear, adapter_layers, plain_linear

_ATTENTION = ("attn", "attention")


def linear_layers(model: nn.Module) -> dict[str, nn.Linear | AdaptedLinear]:
    """Every linear layer but the output head, adapted ones as their wrapper."""
    output = getattr(model, "get_output_embeddings", lambda: None)()
    wrapped = {f"{path}.base" for path, _ in adapter_layers(model)}
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | AdaptedLinear)
        and module is not output
        and path not in wrapped
    }


def blocks(model: Any) -> list[tuple[str, nn.Module]]:
    """The decoder's blocks with their full names, first to last.

    Raises:
        ConfigError: when the base is not built from a list of blocks.
    """
    count = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return [(f"{path}.{index}", block) for index, block in enumerate(module)]
    raise ConfigError(
        f"this base ({model.config.model_type}) has no list of {count} blocks", "Use tuner=lora."
    )


def frozen_experts(model: nn.Module) -> float:
    """Share of a base's weights in routed experts that stay as they are.

    Experts are held together in tensors (experts, out, in), which are no linear layers: adapters
    cannot go there.
    """
    held = [(p.numel(), p.ndim == 3 and not p.requires_grad) for p in model.parameters()]
    return sum(count for count, frozen in held if frozen) / sum(count for count, _ in held)


def is_attention(path: str) -> bool:
    """Whether a layer belongs to an attention, by the names on its path."""
    return any(word in part.lower() for part in path.split(".") for word in _ATTENTION)


def choose(
    model: nn.Module, wanted: Sequence[str], exclude: Sequence[str], option: str
) -> dict[str, nn.Linear | AdaptedLinear]:
    """The layers that ``wanted`` names and ``exclude`` does not, in the model's order.

    Args:
        model: whose layers.
        wanted: ``all-linear``, ``attention``, ``mlp``, ends of names, or patterns with ``*``,
            ``?`` and ``[]`` over whole names.
        exclude: in the same form.
        option: what a refusal calls ``wanted``.

    Raises:
        ConfigError: an entry that names no layer, or nothing is left.
    """
    layers = linear_layers(model)
    chosen = _named(layers, wanted, model, f"{option}.targets")
    left = chosen - _named(layers, exclude, model, f"{option}.exclude")
    if not left:
        raise ConfigError(f"option '{option}.exclude' leaves no layer to adapt", "Exclude less.")
    return {path: layer for path, layer in layers.items() if path in left}


def peft_names(model: nn.Module, chosen: Iterable[str]) -> list[str]:
    """Names that select exactly the chosen layers where ends of names count, as PEFT reads them.

    The last parts of the names when they do, else the whole names.
    """
    paths = set(chosen)
    tails = {path.rsplit(".", 1)[-1] for path in paths}
    hit = {path for path in linear_layers(model) if path.rsplit(".", 1)[-1] in tails}
    return sorted(tails if hit == paths else paths)


def _named(
    layers: dict[str, nn.Linear | AdaptedLinear],
    names: Sequence[str],
    model: Any,
    option: str,
) -> set[str]:
    found: set[str] = set()
    for name in names:
        matches = _matcher(name, model)
        hits = {path for path in layers if matches(path)}
        if not hits:
            known = sorted({path.rsplit(".", 1)[-1] for path in layers})
            raise ConfigError(
                f"option '{option}': no linear layer is called {name!r}",
                f"This base has: {', '.join(known)}; all-linear takes them all, attention and mlp"
                " those of one kind.",
            )
        found |= hits
    return found


def _matcher(name: str, model: Any) -> Callable[[str], bool]:
    if name in _ROLES:
        return _ROLES[name](model)
    if set(name) & set("*?["):
        return lambda path: fnmatchcase(path, name)
    return lambda path: path == name or path.endswith(f".{name}")


def _everywhere(model: Any) -> Callable[[str], bool]:
    return lambda path: True


def _in_attention(model: Any) -> Callable[[str], bool]:
    starts = tuple(f"{path}." for path, _ in blocks(model))
    return lambda path: path.startswith(starts) and is_attention(path)


def _in_mlp(model: Any) -> Callable[[str], bool]:
    starts = tuple(f"{path}." for path, _ in blocks(model))
    return lambda path: path.startswith(starts) and not is_attention(path)


_ROLES: dict[str, Callable[[Any], Callable[[str], bool]]] = {
    "all-linear": _everywhere,
    "attention": _in_attention,
    "mlp": _in_mlp,
}


def attention_output(model: nn.Module, block: str) -> str:
    """Name of the linear layer that ends a block's attention.

    Raises:
        ConfigError: when there is none.
    """
    return _last(model, block, True)


def mlp_output(model: nn.Module, block: str) -> str:
    """Name of the linear layer that ends a block's MLP.

    Raises:
        ConfigError: when there is none, as in a mixture of experts with fused weights.
    """
    return _last(model, block, False)


def _last(model: Any, block: str, attention: bool) -> str:
    """The last layer of a kind: every architecture defines its layers in the order of use."""
    width = model.config.get_text_config().hidden_size
    found = [
        path
        for path, layer in linear_layers(model).items()
        if path.startswith(f"{block}.")
        and is_attention(path.removeprefix(f"{block}.")) == attention
        and plain_linear(layer).out_features == width
    ]
    if not found:
        kind = "attention" if attention else "MLP"
        raise ConfigError(
            f"{block} has no linear layer that ends its {kind} ({model.config.model_type})",
            "This tuner does not fit this base; use tuner=lora.",
        )
    return found[-1]
