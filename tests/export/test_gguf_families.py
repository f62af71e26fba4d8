"""GGUF exports of the catalog's families: the file alone gives the same ids, logits and answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGUFReader
from tests.export.conftest import MakeTuned
from tests.export.gguf_families import FAMILIES, family_base
from tests.export.test_merged import make
from tests.model.family_bases import SPECIMENS, write_base

from tunewright.core.errors import ModelError
from tunewright.core.store import Store
from tunewright.export.gguf.architecture import architecture_of, settings_of
from tunewright.export.gguf.sizes import check_sizes


# The file of 65,024 tokens takes long to read.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "chatglm3")) for n in FAMILIES]
)
def test_what_is_read_back_equals_the_tuned_model(
    store: Store, make_tuned: MakeTuned, tmp_path: Path, name: str
) -> None:
    model = make_tuned("lora", base=family_base(name, tmp_path))
    made = make(store, model, to="gguf", gguf="f32")
    assert made.parity is not None
    assert made.passed, made.parity["failures"]
    assert made.parity["logits"]["largest_difference"] <= 1e-4
    assert made.parity["answers"]["same_prompt_ids"] == 4
    assert made.parity["answers"]["identical"] == 4


def test_experts_are_stacked_and_routers_are_not_rounded(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    base = family_base("mixtral", tmp_path)
    made = make(store, make_tuned("lora", base=base), to="gguf", gguf="q8_0",
                parity={"check": False})  # fmt: skip
    (file,) = made.folder.glob("*.gguf")
    tensors = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    assert tensors["blk.1.ffn_gate_exps.weight"].shape.tolist() == [32, 48, 4]
    assert tensors["blk.1.ffn_gate_exps.weight"].tensor_type.name == "Q8_0"
    assert tensors["blk.1.ffn_gate_inp.weight"].tensor_type.name == "F32"


def test_a_window_that_llama_cpp_lacks_bounds_the_context(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    base = write_base(SPECIMENS["mistral"], tmp_path / "windowed")
    made = make(store, make_tuned("lora", base=base), to="gguf", gguf="f32",
                parity={"check": False})  # fmt: skip
    (file,) = made.folder.glob("*.gguf")
    assert GGUFReader(file).fields["llama.context_length"].contents() == 13
    assert "Up to 13 tokens" in made.plan.notes[0]
    assert "num_ctx 13" in (made.folder / "Modelfile").read_text(encoding="utf-8")


def test_factors_for_long_texts_bound_the_context(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    model = make_tuned("lora", base=family_base("phi3_long", tmp_path))
    made = make(store, model, to="gguf", gguf="f16", parity={"check": False})
    (file,) = made.folder.glob("*.gguf")
    reader = GGUFReader(file)
    assert reader.fields["phi3.context_length"].contents() == 512
    # The square root of 1 + ln(1024 / 512) / ln(512).
    strength = reader.fields["phi3.rope.scaling.attn_factor"].contents()
    assert strength == pytest.approx(1.0540926, abs=1e-6)
    factors = {tensor.name: tensor.data.tolist() for tensor in reader.tensors}
    assert factors["rope_factors_long.weight"] == [1.0, 2.0, 5.0, 9.0]
    assert "names 512 tokens" in made.plan.notes[0]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("glm4", "[gMASK]<sop>{{ range .Messages }}<|{{ .Role }}|>"),
        ("phi4", "{{ range .Messages }}<|im_start|>{{ .Role }}<|im_sep|>"),
        ("llama2", None),
        ("gemma2", None),
    ],
)
def test_ollama_gets_the_templates_that_are_equal(
    store: Store, make_tuned: MakeTuned, tmp_path: Path, name: str, begins: str | None
) -> None:
    model = make_tuned("lora", base=family_base(name, tmp_path))
    made = make(store, model, to="gguf", parity={"check": False})
    text = (made.folder / "Modelfile").read_text(encoding="utf-8")
    assert (f'TEMPLATE """{begins}' in text) == (begins is not None)
    assert ("TEMPLATE" in text) == (begins is not None)


def test_what_llama_cpp_computes_otherwise_is_refused(tmp_path: Path) -> None:
    config = settings_of(write_base(SPECIMENS["gemma3"], tmp_path / "gemma", weights=False))
    found = architecture_of(config)
    uneven = ["full_attention", "sliding_attention"]
    with pytest.raises(ModelError, match="even distances"):
        check_sizes(found, {**config, "layer_types": uneven})
    with pytest.raises(ModelError, match="scales the scores of gemma3 by 8"):
        check_sizes(found, {**config, "query_pre_attn_scalar": 256})
    with pytest.raises(ModelError, match="attn_logit_softcapping=None only"):
        architecture_of({**config, "attn_logit_softcapping": 50.0})
    glm = settings_of(write_base(SPECIMENS["glm"], tmp_path / "glm", weights=False))
    with pytest.raises(ModelError, match="are the hidden size"):
        check_sizes(architecture_of(glm), {**glm, "hidden_size": 48})
