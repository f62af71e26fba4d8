"""Folders of every family whose template writes calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from tests.model.chatglm3.files import write_folder
from tests.model.family_bases import SPECIMENS, Specimen, write_base

from tunewright.core.messages import Conversation, Message, ToolCall
from tunewright.core.settings import Settings
from tunewright.model.catalog import resolve_base
from tunewright.model.rendering import Renderer

# As DeepSeek writes calls since V3.1: between control tokens, a name and bare JSON.
_DEEPSEEK31 = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {{- messages[0]['content'] }}
{%- endif %}
{%- for tool in tools or [] %}
    {{- '\\n### ' + tool.function.name + '\\n' + tool.function | tojson }}
{%- endfor %}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {{- '<｜User｜>' + message['content'] }}
    {%- elif message['role'] == 'tool' %}
        {{- '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' }}
    {%- elif message['role'] == 'assistant' %}
        {{- '<｜Assistant｜>' + message['content'] }}
        {%- for call in message['tool_calls'] or [] %}
            {{- '<｜tool▁calls▁begin｜>' if loop.first else '' }}
            {{- '<｜tool▁call▁begin｜>' + call.function.name + '<｜tool▁sep｜>' }}
            {{- call.function.arguments | tojson + '<｜tool▁call▁end｜>' }}
            {{- '<｜tool▁calls▁end｜>' if loop.last else '' }}
        {%- endfor %}
        {{- eos_token }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<｜Assistant｜>' }}
{%- endif %}
"""
# As GLM-4 is published: a turn's metadata is the function that it calls.
_GLM_METADATA = """\
[gMASK]<sop>
{%- if tools -%}
<|system|>
# 可用工具
{% for tool in tools %}
## {{ tool.function.name }}

{{ tool.function | tojson(indent=4) }}
{% endfor %}
{%- endif -%}
{%- for message in messages if message.role == 'system' %}
<|system|>
{{ message.content }}
{%- endfor %}
{%- for message in messages if message.role != 'system' %}
<|{{ message.role }}|>{{ message.get("metadata", "") }}
{{ message.content }}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}
"""
# The functions on offer belong to the first message.
_GLM_MESSAGE_TOOLS = """\
[gMASK]<sop>{% for item in messages %}{% if item['tools'] is defined %}<|system|>
# 可用工具{% for tool in item['tools'] %}

## {{ tool['function']['name'] }}

{{ tool['function'] | tojson(indent=4) }}{% endfor %}{% endif %}{% if item['content'] %}\
<|{{ item['role'] }}|>{{ item['metadata'] }}
{{ item['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}
"""
_DEEPSEEK = SPECIMENS["deepseek3"]
_OTHERS = {
    "deepseek31": replace(
        _DEEPSEEK,
        template=_DEEPSEEK31,
        tools=True,
        specials=(
            *_DEEPSEEK.specials, "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",
            "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>",
            "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>",
        ),
    ),
    "glm_metadata": replace(SPECIMENS["glm4"], template=_GLM_METADATA),
    "glm_message_tools": replace(SPECIMENS["glm"], template=_GLM_MESSAGE_TOOLS),
}  # fmt: skip


def write_bases(root: Path, names: Sequence[str], weights: bool = False) -> dict[str, Path]:
    """The folders by family; random weights if wanted, except those that are always there."""
    found: dict[str, Path] = {}
    for name in names:
        if name == "nano":
            found[name] = Path(str(files("tunewright"))) / "bases" / "nano"
        elif name == "chatglm3":
            write_folder(root / name)
            config = root / name / "config.json"
            values = json.loads(config.read_text(encoding="utf-8"))
            # Room for the tools that a prompt lists, letter by letter.
            config.write_text(json.dumps({**values, "seq_length": 4096}), encoding="utf-8")
            settings = Settings(home=root / "home", offline=True)
            found[name] = resolve_base(str(root / name), settings).folder
        else:
            specimen: Specimen = _OTHERS.get(name) or SPECIMENS[name]
            roomy = {**specimen.config, "max_position_embeddings": 4096}
            found[name] = write_base(replace(specimen, config=roomy), root / name, weights)
    return found


def taught(renderer: Renderer, calls: Sequence[ToolCall], words: str = "") -> list[int]:
    """The tokens that are learnt of an answer which calls functions, its end left out."""
    names = {call.name for call in calls} or {"f"}
    told = Conversation(
        messages=(
            Message(role="user", content="?"),
            Message(role="assistant", content=words, tool_calls=tuple(calls)),
        ),
        tools=tuple({"type": "function", "function": {"name": name}} for name in names),
    )
    row = renderer.render(told)
    return [
        token
        for token, learnt in zip(row.ids, row.mask, strict=True)
        if learnt and token not in renderer.eos_ids
    ]


def teach(folder: Path, conversation: Conversation, steps: int) -> None:
    """Change a base's weights until it answers as the conversation does."""
    import torch
    from transformers import AutoModelForCausalLM

    row = Renderer(folder).render(conversation)
    ids = torch.tensor(row.ids)
    learnt = torch.tensor(row.mask).nonzero()[:, 0]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        logits = model(input_ids=ids[None], logits_to_keep=learnt - 1).logits[0]
        torch.nn.functional.cross_entropy(logits, ids[learnt]).backward()
        optimizer.step()
        optimizer.zero_grad()
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    model.save_pretrained(folder)
