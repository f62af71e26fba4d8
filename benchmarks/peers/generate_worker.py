"""transformers' ``generate`` on one padded batch: no server, nothing joins or leaves.

Arguments: model folder, requests file, dtype. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Generate once to warm up and once for the measurement."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, requests, dtype = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    bodies = [json.loads(line) for line in requests.read_text(encoding="utf-8").splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    texts = [
        tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        for body in bodies
    ]
    limit = bodies[0]["max_tokens"]
    batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    length = batch["input_ids"].shape[1]
    with torch.inference_mode():
        model.generate(**batch, max_new_tokens=4, do_sample=False)
        began, busy = time.perf_counter(), time.process_time()
        output = model.generate(**batch, max_new_tokens=limit, do_sample=False)
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    tokens = 0
    for row in output[:, length:].tolist():
        ends = [place for place, token in enumerate(row) if token == model.config.eos_token_id]
        tokens += ends[0] + 1 if ends else len(row)
    print("METER " + json.dumps({"tokens": tokens, "seconds": seconds, "cpu": cpu}), flush=True)


if __name__ == "__main__":
    main()
