"""`llm`, a command-line tool: a question, the same one streamed, and an answer in a schema.

It runs in that client's own environment: ``use_llm.py URL KEY``.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

URL, KEY = sys.argv[1:3]
QUESTION = "你好"
MODEL = f"""\
- model_id: ours
  model_name: nano
  api_base: {URL}
  api_key_name: ours
  supports_schema: true
"""


def ask(home: str, *options: str) -> str:
    """What the tool prints."""
    done = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "ours", "-o", "temperature", "0", *options],
        env={**os.environ, "LLM_USER_PATH": home},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


with tempfile.TemporaryDirectory() as folder:
    Path(folder, "extra-openai-models.yaml").write_text(MODEL, encoding="utf-8")
    Path(folder, "keys.json").write_text(json.dumps({"ours": KEY}), encoding="utf-8")
    schema = {"type": "object", "properties": {"sky": {"enum": ["blue", "green"]}},
              "required": ["sky"], "additionalProperties": False}  # fmt: skip
    shaped = json.loads(ask(folder, "--schema", json.dumps(schema), "What colour is the sky?"))
    assert set(shaped) == {"sky"}
    assert shaped["sky"] in ("blue", "green")
    print(
        json.dumps(
            {"text": ask(folder, "--no-stream", QUESTION), "streamed": ask(folder, QUESTION)}
        )
    )
