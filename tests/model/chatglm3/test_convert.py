"""ChatGLM3 folders: the same numbers from other names, from either kind of file, or a refusal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from tests.model.chatglm3.conftest import Original
from tests.model.chatglm3.files import CONFIG, forward, pieces_file, weights, write_folder
from tests.model.test_catalog import Hub

from tunewright.core.errors import ModelError
from tunewright.core.settings import Settings
from tunewright.model.catalog import find_config, resolve_base
from tunewright.model.folders import read_json
from tunewright.model.loading import load_model
from tunewright.model.shapes import shape_of

DATA = os.environ.get("CHATGLM3_DATA", "")
CPU = torch.device("cpu")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", offline=True)


def test_logits_are_those_of_the_original(chatglm3: Original) -> None:
    model = load_model(chatglm3.base, CPU, torch.float32)
    ids = torch.randint(65024, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model(input_ids=ids).logits
    assert type(model).__name__ == "GlmForCausalLM"
    torch.testing.assert_close(found, forward(chatglm3.tensors, ids), rtol=1e-4, atol=1e-4)


def test_packed_equals_alone_equals_padded(chatglm3: Original) -> None:
    model = load_model(chatglm3.base, CPU, torch.float32)
    ids = torch.randint(65024, (1, 20), generator=torch.Generator().manual_seed(2))
    places = torch.cat([torch.arange(12), torch.arange(8)])[None]
    bounds = torch.tensor([0, 12, 20]).int()
    with torch.no_grad():
        packed = model(
            input_ids=ids, position_ids=places, cu_seqlens=bounds, use_cache=False
        ).logits
        apart = [model(input_ids=part, use_cache=False).logits for part in ids.split([12, 8], 1)]
        padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), ids[:, :12]], 1)
        mask = (torch.arange(16) >= 4).long()[None]
        left = model(
            input_ids=padded,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).logits[:, 4:]
    torch.testing.assert_close(packed, torch.cat(apart, 1), rtol=0, atol=1e-5)
    torch.testing.assert_close(left, apart[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["bin", "shards"])
def test_torch_files_give_the_same_weights(
    chatglm3: Original, tmp_path: Path, settings: Settings, kind: str
) -> None:
    write_folder(tmp_path / "base", kind)
    base = resolve_base(str(tmp_path / "base"), settings)
    model = load_model(base, CPU, torch.float32).state_dict()
    expected = load_model(chatglm3.base, CPU, torch.float32).state_dict()
    assert model.keys() == expected.keys()
    assert all(torch.equal(model[name], expected[name]) for name in expected)


def test_it_is_made_once_and_no_file_of_it_can_run_code(
    chatglm3: Original, settings: Settings
) -> None:
    base = resolve_base(str(chatglm3.folder), settings)
    assert base.digest == chatglm3.base.digest
    made = {file.name: file.stat().st_mtime_ns for file in base.folder.iterdir()}
    assert resolve_base(str(chatglm3.folder), settings) == base
    assert {file.name: file.stat().st_mtime_ns for file in base.folder.iterdir()} == made
    assert [p.name for p in (settings.home / "bases" / "chatglm3").iterdir()] == [base.folder.name]
    texts = [file.read_text() for file in base.folder.glob("*config.json")]
    assert len(texts) == 3
    assert not any("auto_map" in text for text in texts)
    assert resolve_base(str(base.folder), settings).digest == base.digest


def test_what_a_killed_process_left_is_removed(chatglm3: Original, settings: Settings) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    left = settings.home / "bases" / "chatglm3" / f".tmp-{process.pid}-abc"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"part")
    assert resolve_base(str(chatglm3.folder), settings).digest == chatglm3.base.digest
    assert not left.exists()


def test_its_sizes_are_told_without_its_weights(chatglm3: Original, settings: Settings) -> None:
    folders = (find_config(str(chatglm3.folder), settings), chatglm3.base.folder)
    planned, native = (shape_of(read_json(folder / "config.json")) for folder in folders)
    total = sum(t.numel() for n, t in chatglm3.tensors.items() if "inv_freq" not in n)
    assert planned.parameters == native.parameters == total


@pytest.fixture
def folder(tmp_path: Path, chatglm3: Original) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(chatglm3.folder, tmp_path / "base"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": 3}, r"lack model\.layers\.2"),
        ({"multi_query_group_num": 1}, "has 64 rows, not 48"),
        ({"ffn_hidden_size": 32}, r"its config\.json asks"),
        ({"_name_or_path": "THUDM/chatglm2-6b"}, "another format"),
        ({"rmsnorm": False}, "rmsnorm=False"),
        ({"quantization_bit": 4}, "quantization_bit=4"),
        ({"kv_channels": "x"}, "kv_channels"),
        ({"num_layers": 10**9}, "num_layers must be a whole number from 1 to 1,000"),
        ({"hidden_size": 10**9}, "hidden_size"),
        ({"layernorm_epsilon": 0}, "layernorm_epsilon"),
    ],
)
def test_other_models_are_refused(
    folder: Path, settings: Settings, change: dict[str, object], message: str
) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **change}))
    with pytest.raises(ModelError, match=message):
        resolve_base(str(folder), settings)
    assert not list((settings.home / "bases").glob("chatglm3/*"))


def test_incomplete_folders_are_refused(folder: Path, settings: Settings) -> None:
    (folder / "tokenizer.model").write_bytes(pieces_file(pieces=5000))
    with pytest.raises(ModelError, match="5,000 pieces"):
        resolve_base(str(folder), settings)
    (folder / "tokenizer.model").write_bytes(pieces_file(normalizer=b"nmt_nfkc"))
    with pytest.raises(ModelError, match="another way"):
        resolve_base(str(folder), settings)
    (folder / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    with pytest.raises(ModelError, match="no SentencePiece model"):
        resolve_base(str(folder), settings)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.model"):
        resolve_base(str(folder), settings)
    (folder / "tokenizer.model").write_bytes(pieces_file())
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        resolve_base(str(folder), settings)
    assert not list((settings.home / "bases" / "chatglm3").iterdir())


def test_an_index_that_names_no_files_is_refused(folder: Path, settings: Settings) -> None:
    (folder / "model.safetensors").unlink()
    index = folder / "pytorch_model.bin.index.json"
    for places, message in (([1], "no weights"), ({"a": "../x.bin"}, r"lacks \.\./x\.bin")):
        index.write_text(json.dumps({"weight_map": places}))
        with pytest.raises(ModelError, match=message):
            resolve_base(str(folder), settings)


def test_foreign_tensors_are_refused(folder: Path, settings: Settings) -> None:
    (folder / "model.safetensors").unlink()
    tensors = weights() | {"transformer.prefix_encoder.embedding.weight": torch.zeros(2, 2)}
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"prefix_encoder.* is not one of ChatGLM3-6B"):
        resolve_base(str(folder), settings)


@pytest.mark.parametrize("kind", ["safetensors", "shards"])
def test_it_is_fetched_from_a_hub_with_what_it_needs(
    tmp_path: Path, settings: Settings, chatglm3: Original, kind: str
) -> None:
    write_folder(tmp_path / "published", kind)
    (tmp_path / "published" / "modeling_chatglm.py").write_text("raise SystemExit")
    if kind == "safetensors":
        (tmp_path / "published" / "pytorch_model.bin").write_bytes(b"\x80")
    hub = Hub(tmp_path / "published")
    try:
        online = Settings(home=settings.home, modelscope_endpoint=hub.url)
        base = resolve_base("modelscope:org/model", online)
        asked = len(hub.asked)
        assert resolve_base("modelscope:org/model", settings) == base
        assert len(hub.asked) == asked
    finally:
        hub.close()
    fetched = {path.name for path in (settings.home / "bases" / "modelscope").rglob("*.*")}
    assert {"tokenizer.model", "config.json"} < fetched
    assert not fetched & {"modeling_chatglm.py", "pytorch_model.bin"}
    expected = load_model(chatglm3.base, CPU, torch.float32).state_dict()
    found = load_model(base, CPU, torch.float32).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.skipif(not DATA, reason="CHATGLM3_DATA names no folder with the original's figures")
def test_the_original_gives_the_same_logits_and_greedy_ids(
    tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(Path(DATA) / "tiny_random", folder)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(Path(DATA) / name, folder / name)
    figures = torch.load(folder / "reference.pt", weights_only=True)
    (folder / "reference.pt").unlink()
    model = load_model(resolve_base(str(folder), settings), CPU, torch.float32)
    ids = figures["input_ids"]
    with torch.no_grad():
        last = model(input_ids=ids).logits[:, -4:]
        assert (last - figures["logits_fp32"]).abs().max() == 0
        for expected in figures["greedy_ids"]:
            drawn = model(input_ids=ids).logits[0, -1].argmax()
            assert drawn == expected
            ids = torch.cat([ids, drawn.view(1, 1)], 1)
