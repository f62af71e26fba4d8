"""GGUF exports of the catalog's families: the file alone gives the same ids, logits and answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.export.conftest import MakeTuned
from tests.export.gguf_families import FAMILIES, family_base
from tests.export.test_merged import make

from tunewright.core.store import Store


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
