"""k-quants beside llama.cpp's own: error and speed on the same random weights.

    python benchmarks/k_quants.py
    python benchmarks/k_quants.py --rows 8192 --repeats 5

Needs ``pip install llama-cpp-python``; without it Tunewright is measured alone. Both sides use one
thread, since llama.cpp leaves it to its callers to use more.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize

from tunewright.export.gguf.k_quants import K_QUANTS, quantize_k

COLUMNS = 2048
Array = np.ndarray
Quantize = Callable[[Array, Kind], Array]


def main() -> None:
    """Print a table for normal weights and one for weights with heavy tails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2048, help="of 2048 weights each")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    sides: dict[str, Quantize] = {"ours": _ours}
    library = _library()
    if library is not None:
        sides["llama.cpp"] = _theirs(library)
    shape = (options.rows, COLUMNS)
    weights = {
        "normal": draw.standard_normal(shape),
        "Student t, 4 degrees": draw.standard_t(4, shape),
    }
    for name, drawn in weights.items():
        values = (0.02 * drawn).astype(np.float32)
        print(f"\n{name}\n\n| type | side | error | MB/s |\n|---|---|---:|---:|")
        for kind in sorted(K_QUANTS):
            _row(kind, sides, values, options.repeats)
        _row(Kind.Q4_0, {"gguf": lambda some, kind: quantize(some, kind)}, values, options.repeats)


def _row(kind: Kind, sides: dict[str, Quantize], values: Array, repeats: int) -> None:
    """Error relative to the weights, and float32 bytes read a second; the sides take turns."""
    fastest = dict.fromkeys(sides, float("inf"))
    stored: dict[str, Array] = {}
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.perf_counter()
            stored[name] = side(values, kind)
            fastest[name] = min(fastest[name], time.perf_counter() - start)
    for name, quantized in stored.items():
        wrong = dequantize(quantized, kind) - values
        error = np.sqrt(np.mean(wrong**2) / np.mean(values**2))
        print(f"| {kind.name} | {name} | {error:.5f} | {values.nbytes / 1e6 / fastest[name]:.0f} |")


def _ours(values: Array, kind: Kind) -> Array:
    return quantize_k(torch.from_numpy(values), kind).numpy()


def _library() -> ctypes.CDLL | None:
    """llama.cpp's own quantisation, out of an installed llama-cpp-python."""
    found = find_spec("llama_cpp")
    if found is None or found.origin is None:
        return None
    library = ctypes.CDLL(str(Path(found.origin).parent / "lib" / "libggml-base.so"))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p,
    ]  # fmt: skip
    return library


def _theirs(library: ctypes.CDLL) -> Quantize:
    def quantized(values: Array, kind: Kind) -> Array:
        block, size = GGML_QUANT_SIZES[kind]
        rows, columns = values.shape
        stored = np.empty((rows, columns // block * size), dtype=np.uint8)
        library.ggml_quantize_chunk(
            int(kind), values.ctypes.data, stored.ctypes.data, 0, rows, columns, None
        )
        return stored

    return quantized


if __name__ == "__main__":
    main()
