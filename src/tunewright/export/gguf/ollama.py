"""A Modelfile: how Ollama runs a GGUF file (https://docs.ollama.com/modelfile)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tunewright.core.messages import Conversation, Message, conversation
from tunewright.export.gguf.vocabulary import Vocabulary
from tunewright.model.rendering import Renderer

_PROBES = (
    conversation(("user", "a")),
    conversation(("system", "s"), ("user", "a\nb")),
    conversation(("user", "a"), ("assistant", "b"), ("user", " c")),
)


def _chatml(messages: Sequence[Message]) -> str:
    turns = (f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages)
    return "".join(turns) + "<|im_start|>assistant\n"


def _llama3(messages: Sequence[Message]) -> str:
    def head(role: str) -> str:
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n"

    turns = (f"{head(m.role)}{m.content}<|eot_id|>" for m in messages)
    return "<|begin_of_text|>" + "".join(turns) + head("assistant")


def _glm4(messages: Sequence[Message]) -> str:
    turns = (f"<|{m.role}|>\n{m.content}" for m in messages)
    return "[gMASK]<sop>" + "".join(turns) + "<|assistant|>"


def _phi4(messages: Sequence[Message]) -> str:
    turns = (f"<|im_start|>{m.role}<|im_sep|>{m.content}<|im_end|>" for m in messages)
    return "".join(turns) + "<|im_start|>assistant<|im_sep|>"


_TEMPLATES: Mapping[str, Callable[[Sequence[Message]], str]] = MappingProxyType(
    {
        "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
        "<|im_start|>assistant\n": _chatml,
        "{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n"
        "{{ .Content }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>\n\n": (
            _llama3
        ),
        "[gMASK]<sop>{{ range .Messages }}<|{{ .Role }}|>\n{{ .Content }}{{ end }}<|assistant|>": (
            _glm4
        ),
        "{{ range .Messages }}<|im_start|>{{ .Role }}<|im_sep|>{{ .Content }}<|im_end|>{{ end }}"
        "<|im_start|>assistant<|im_sep|>": _phi4,
    }
)
"""Ollama's template → the text that it writes. Ollama runs Go templates, not a model's own."""


def modelfile(file: str, renderer: Renderer, vocabulary: Vocabulary, context: int) -> str:
    """The Modelfile beside a GGUF file.

    The template is given only where it writes what the base's own template writes.

    Args:
        file: its name.
        renderer: of the base.
        vocabulary: of the file.
        context: most positions.
    """
    lines = [f"FROM ./{file}"]
    template = _template(renderer)
    if template is None:
        lines.append("# No Go template is known that writes what this model's chat template does.")
        lines.append("# Ollama chooses one by the file; or use llama-server --jinja, which runs")
        lines.append("# the model's own.")
    else:
        lines.append(f'TEMPLATE """{template}"""')
    lines += [f"PARAMETER stop {_quoted(vocabulary.tokens[end])}" for end in vocabulary.ends]
    lines += [f"PARAMETER num_ctx {context}", "PARAMETER temperature 0"]
    return "\n".join(lines) + "\n"


def _template(renderer: Renderer) -> str | None:
    for go, written in _TEMPLATES.items():
        if all(_official(renderer, probe) == written(probe.messages) for probe in _PROBES):
            return go
    return None


def _official(renderer: Renderer, probe: Conversation) -> str:
    ids = renderer.prompt_ids(probe)
    return renderer.tokenizer.decode(ids, skip_special_tokens=False)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
