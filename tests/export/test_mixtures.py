"""Which type each matrix of a GGUF file gets."""

from __future__ import annotations

import pytest
from gguf import GGMLQuantizationType as Kind

from tunewright.export.gguf.mixtures import MIXTURES

WIDE, NARROW = 512, 896


def shapes(layers: int, tied: bool = False) -> dict[str, tuple[int, ...]]:
    """A model's tensors; the rows of ``ffn_down`` are no multiple of 256 in the last layer."""
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (1000, WIDE)}
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"):
            found[f"blk.{layer}.{name}.weight"] = (WIDE, WIDE)
        columns = NARROW if layer == layers - 1 else WIDE
        found[f"blk.{layer}.ffn_down.weight"] = (WIDE, columns)
        found[f"blk.{layer}.attn_norm.weight"] = (WIDE,)
    return found if tied else found | {"output.weight": (1000, WIDE)}


def layers_with(kinds: dict[str, Kind], name: str, kind: Kind) -> list[int]:
    """Numbers of the layers in which a matrix has a type."""
    count = sum(one.endswith(f".{name}.weight") for one in kinds)
    return [n for n in range(count) if kinds[f"blk.{n}.{name}.weight"] is kind]


@pytest.mark.parametrize("stored_as", ["q4_k_m", "q5_k_m"])
def test_values_and_ends_of_layers_get_more_bits(stored_as: str) -> None:
    kinds = MIXTURES[stored_as].kinds(shapes(16))
    more = [0, 1, 4, 7, 10, 13, 14, 15]
    assert layers_with(kinds, "attn_v", Kind.Q6_K) == more
    assert layers_with(kinds, "ffn_down", Kind.Q6_K) == more[:-1]
    usual = Kind[stored_as[:4].upper()]
    assert len(layers_with(kinds, "attn_v", usual)) == 8
    assert len(layers_with(kinds, "ffn_gate", usual)) == 16


def test_small_mixtures_raise_the_first_layers() -> None:
    kinds = MIXTURES["q4_k_s"].kinds(shapes(16))
    assert layers_with(kinds, "attn_v", Kind.Q5_K) == [0, 1, 2, 3]
    assert layers_with(kinds, "ffn_down", Kind.Q5_K) == [0, 1]
    kinds = MIXTURES["q3_k_m"].kinds(shapes(16))
    assert layers_with(kinds, "attn_v", Kind.Q5_K) == [0, 1]
    assert layers_with(kinds, "ffn_down", Kind.Q5_K) == [0]
    assert len(layers_with(kinds, "attn_output", Kind.Q4_K)) == 16
    assert len(layers_with(kinds, "attn_q", Kind.Q3_K)) == 16


@pytest.mark.parametrize("stored_as", [name for name in MIXTURES if "_k" in name])
def test_what_gives_the_logits_gets_six_bits(stored_as: str) -> None:
    apart = MIXTURES[stored_as].kinds(shapes(2))
    assert apart["output.weight"] is Kind.Q6_K
    assert apart["token_embd.weight"] is MIXTURES[stored_as].usual
    tied = MIXTURES[stored_as].kinds(shapes(2, tied=True))
    assert tied["token_embd.weight"] is Kind.Q6_K


@pytest.mark.parametrize(
    ("stored_as", "expected"),
    [
        ("q6_k", Kind.Q8_0), ("q5_k_s", Kind.Q5_1), ("q4_k_s", Kind.Q5_0), ("q4_k_m", Kind.Q8_0),
        ("q2_k", Kind.Q4_0), ("q8_0", Kind.Q8_0), ("f32", Kind.F32),
    ],
)  # fmt: skip
def test_rows_that_256_does_not_divide_get_blocks_of_32(stored_as: str, expected: Kind) -> None:
    assert MIXTURES[stored_as].kinds(shapes(3))["blk.2.ffn_down.weight"] is expected


def test_rows_that_no_blocks_fill_stay_in_float16() -> None:
    odd = {"blk.0.ffn_down.weight": (8, 100), "blk.0.attn_norm.weight": (100,)}
    for stored_as in ("q8_0", "q4_k_m", "q3_k_m"):
        kinds = MIXTURES[stored_as].kinds(odd)
        assert kinds == {"blk.0.ffn_down.weight": Kind.F16, "blk.0.attn_norm.weight": Kind.F32}


def test_experts_are_treated_like_the_layer_they_stand_for_and_routers_are_exact() -> None:
    found: dict[str, tuple[int, ...]] = {
        "blk.0.ffn_gate_inp.weight": (8, WIDE),
        "blk.0.ffn_up_exps.weight": (8, WIDE, WIDE),
        "blk.0.ffn_down_exps.weight": (8, WIDE, WIDE),
    }
    kinds = MIXTURES["q4_k_m"].kinds({**shapes(1), **found})
    assert [kinds[name] for name in found] == [Kind.F32, Kind.Q4_K, Kind.Q6_K]
    assert MIXTURES["q8_0"].kinds(found)["blk.0.ffn_gate_inp.weight"] is Kind.F32


def test_bits_only_fall_along_the_table() -> None:
    from gguf import GGML_QUANT_SIZES

    def size(stored_as: str) -> int:
        found = shapes(16)
        kinds = MIXTURES[stored_as].kinds(found)
        sizes = [(found[name], *GGML_QUANT_SIZES[kind]) for name, kind in kinds.items()]
        return sum(shape[-1] * shape[0] // block * length for shape, block, length in sizes)

    order = [size(name) for name in MIXTURES if name not in ("bf16", "q4_1", "q5_1")]
    assert order == sorted(order, reverse=True)
