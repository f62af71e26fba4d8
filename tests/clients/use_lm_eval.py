"""lm-eval: likelihoods of choices over completions (token ids, echoed), and an answer over chat.

It runs in that client's own environment: ``use_lm_eval.py URL KEY TOKENIZER``.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["OPENAI_API_KEY"] = sys.argv[2]
os.environ["HF_HUB_OFFLINE"] = "1"

import requests
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

URL, KEY, TOKENIZER = sys.argv[1:]
ROWS = [
    {"question": "The sky is", "choices": ["blue", "green"], "answer": 0},
    {"question": "2 + 2 =", "choices": ["5", "4"], "answer": 1},
    {"question": "天空是", "choices": ["蓝色的", "绿色的"], "answer": 0},
]
CHOICES = """\
task: ours_choices
dataset_path: json
dataset_kwargs: {data_files: {test: %(file)s}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
"""
ANSWER = """\
task: ours_answer
dataset_path: json
dataset_kwargs: {data_files: {test: %(file)s}}
test_split: test
output_type: generate_until
doc_to_text: "你好"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n\\n\\n"], max_gen_toks: 64, temperature: 0}
"""


def evaluate(tasks: TaskManager, kind: str, task: str, path: str, **options: object) -> list[dict]:
    """What the harness noted of every row."""
    found = simple_evaluate(
        model=kind,
        model_args={"model": "nano", "base_url": f"{URL}{path}", **options},
        tasks=[task],
        task_manager=tasks,
        apply_chat_template=kind == "local-chat-completions",
        bootstrap_iters=0,
    )
    return found["samples"][task]


def likelihood(text: str, after: str) -> float:
    """Of a text after another one, asked for without the harness."""
    body = {"model": "nano", "prompt": text + after, "max_tokens": 0, "echo": True, "logprobs": 0}
    headers = {"Authorization": f"Bearer {KEY}"}
    reply = requests.post(f"{URL}/completions", json=body, headers=headers, timeout=60).json()
    told = reply["choices"][0]["logprobs"]
    places = zip(told["text_offset"], told["token_logprobs"], strict=True)
    return sum(value for offset, value in places if offset >= len(text))


with tempfile.TemporaryDirectory() as folder:
    os.environ["HF_HOME"] = folder
    data = Path(folder, "rows.jsonl")
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    for name, task in (("choices", CHOICES), ("answer", ANSWER)):
        Path(folder, f"{name}.yaml").write_text(task % {"file": data}, encoding="utf-8")
    tasks = TaskManager(include_path=folder, include_defaults=False)
    samples = evaluate(
        tasks, "local-completions", "ours_choices", "/completions",
        tokenizer=TOKENIZER, tokenizer_backend="huggingface", batch_size=4,
    )  # fmt: skip
    assert len(samples) == len(ROWS)
    for sample in samples:
        for choice, (told, _) in zip(
            sample["doc"]["choices"], sample["filtered_resps"], strict=True
        ):
            own = likelihood(sample["doc"]["question"], f" {choice}")
            assert abs(float(told) - own) < 1e-2, (sample["doc"], told, own)
    (answer, *_) = evaluate(
        tasks, "local-chat-completions", "ours_answer", "/chat/completions", eos_string="<|im_end|>"
    )
print(json.dumps({"text": answer["resps"][0][0]}))
