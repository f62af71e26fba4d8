"""Torch files read apart: tensors are found, and nothing else in a pickle is obeyed."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core.errors import ModelError
from tunewright.model.chatglm3.torch_file import torch_tensors


def read(path: Path, name: str, dtype: torch.dtype) -> torch.Tensor:
    found = torch_tensors(path)[name]
    data = path.read_bytes()[found.begin : found.begin + found.size]
    return torch.frombuffer(bytearray(data), dtype=dtype).view(found.shape)


def test_bytes_of_a_tensor_are_found(tmp_path: Path) -> None:
    both = torch.arange(12.0).view(3, 4)
    tensors = {
        "half": torch.randn(5, 3).half(),
        "brain": torch.randn(2, 2, 2).bfloat16(),
        "part": both[1:],
        "whole": both,
        "trained": torch.nn.Parameter(torch.randn(4)),
        "single": torch.ones(1, 6).t().contiguous().t(),
    }
    torch.save(OrderedDict(tensors), tmp_path / "x.bin")
    for name, tensor in tensors.items():
        assert torch.equal(read(tmp_path / "x.bin", name, tensor.dtype), tensor.detach()), name


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_code_in_a_pickle_never_runs(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    torch.save({"a": torch.ones(2), "b": Hostile(touched)}, tmp_path / "x.bin")
    with pytest.raises(ModelError, match="which is no part of a tensor"):
        torch_tensors(tmp_path / "x.bin")
    assert not touched.exists()


def rewritten(path: Path, pickled: bytes) -> Path:
    """The archive with another pickle."""
    other = path.with_name("other.bin")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry, pickled if entry.filename.endswith("data.pkl") else data)
    return other


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "x.bin"
    torch.save({"a": torch.ones(4, 4)}, good)
    with zipfile.ZipFile(good) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        pickled = archive.read(name)
    cases = {
        pickle.dumps([1, 2]): "more than named tensors",
        pickle.dumps({"a": 1}): "more than named tensors",
        # A storage of 16 numbers cannot hold 255 × 4.
        pickled.replace(b"K\x04K\x04\x86", b"K\xffK\x04\x86"): "larger than its bytes",
        pickled.replace(b"K\x04K\x01\x86", b"K\x01K\x04\x86"): "not stored row by row",
        pickled.replace(b"K\x04K\x04\x86", b"K\x04\x88\x86"): "sizes are no whole numbers",
        pickled[:20]: "not read",
    }
    for changed, message in cases.items():
        with pytest.raises(ModelError, match=message):
            torch_tensors(rewritten(good, changed))
    torch.save({"a": torch.ones(4, 4).t()[:, :2]}, good)
    with pytest.raises(ModelError, match="not stored row by row"):
        torch_tensors(good)
    torch.save({"a": torch.ones(2)}, good, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"no torch file of version 1\.6"):
        torch_tensors(good)
