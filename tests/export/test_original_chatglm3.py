"""ChatGLM3 in its original layout: what the original computes from it is the tuned model's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.export.conftest import MakeTuned
from tests.export.test_merged import make
from tests.model.chatglm3.files import forward, write_folder

from tunewright.core.errors import ModelError
from tunewright.core.store import Store
from tunewright.export.formats import Arithmetic, load_tuned
from tunewright.model.references import resolve


def test_the_original_computes_what_the_tuned_model_does(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    before = write_folder(tmp_path / "chatglm3-tiny")
    model = make_tuned("lora", base=tmp_path / "chatglm3-tiny")
    made = make(store, model, to="chatglm3")
    assert made.passed
    assert made.parity is not None
    assert made.parity["answers"]["same_prompt_ids"] == 4
    after = load_file(made.folder / "model.safetensors")
    names = {name for name in before if not name.endswith("inv_freq")}
    assert {name: t.shape for name, t in after.items()} == {n: before[n].shape for n in names}
    assert (made.folder / "tokenizer.model").is_file()
    ids = torch.tensor([[3, 5, 9, 12, 7, 4]])
    tuned = load_tuned(resolve(store, model.id), Arithmetic(torch.device("cpu"), torch.float32))
    with torch.inference_mode():
        expected = tuned.network(ids).logits
        rounded = {**before, **{name: tensor.float() for name, tensor in after.items()}}
        found = forward(rounded, ids)
    furthest = (found.reshape(expected.shape) - expected).abs().max()
    assert furthest < (1e-4 if made.parity["precision"] == "float32" else 5e-2)
    assert (forward(before, ids).reshape(expected.shape) - expected).abs().max() > 2 * furthest


def test_other_bases_are_refused(store: Store, make_tuned: MakeTuned) -> None:
    with pytest.raises(ModelError, match="does not stand on a folder of ChatGLM3"):
        make(store, make_tuned(), to="chatglm3")
