"""LiteLLM: answers, a required call of a function, completions, embeddings, files and jobs.

It runs in that client's own environment: ``use_litellm.py URL KEY``.
"""

import json
import os
import sys

# Else its import fetches a price list.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

URL, KEY = sys.argv[1:3]
HELLO = [{"role": "user", "content": "你好"}]
TO = {"api_base": URL, "api_key": KEY}
TOOL = {
    "type": "function",
    "function": {
        "name": "paint",
        "description": "Paint the wall.",
        "parameters": {
            "type": "object",
            "properties": {"colour": {"enum": ["red", "white"]}},
            "required": ["colour"],
            "additionalProperties": False,
        },
    },
}

whole = litellm.completion(model="openai/nano", messages=HELLO, temperature=0, **TO)
pieces = litellm.completion(model="openai/nano", messages=HELLO, temperature=0, stream=True, **TO)
streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces)

called = litellm.completion(
    model="openai/nano",
    messages=[{"role": "user", "content": "Paint it red."}],
    tools=[TOOL],
    tool_choice="required",
    **TO,
)
(call,) = called.choices[0].message.tool_calls
assert call.function.name == "paint"
assert json.loads(call.function.arguments)["colour"] in ("red", "white")

continued = litellm.text_completion(
    model="text-completion-openai/nano", prompt="The sky is", max_tokens=4, temperature=0, **TO
)
assert continued.choices[0].text
vector = litellm.embedding(model="openai/nano", input=["sky"], **TO).data[0]["embedding"]
assert abs(sum(value * value for value in vector) - 1) < 1e-3

try:
    litellm.completion(model="openai/nobody", messages=HELLO, **TO)
except litellm.NotFoundError:
    pass
else:
    raise AssertionError("a model that is not served was found")

row = {"messages": [*HELLO, {"role": "assistant", "content": "你好!"}]}
file = litellm.create_file(
    file=("train.jsonl", (json.dumps(row) + "\n").encode() * 20),
    purpose="fine-tune",
    custom_llm_provider="openai",
    **TO,
)
jobs = {"custom_llm_provider": "openai", **TO}
job = litellm.create_fine_tuning_job(model="nano", training_file=file.id, **jobs)
assert litellm.retrieve_fine_tuning_job(fine_tuning_job_id=job.id, **jobs).id == job.id
assert job.id in [one.id for one in litellm.list_fine_tuning_jobs(**jobs)]
assert litellm.cancel_fine_tuning_job(fine_tuning_job_id=job.id, **jobs).id == job.id

print(json.dumps({"text": whole.choices[0].message.content, "streamed": streamed}))
