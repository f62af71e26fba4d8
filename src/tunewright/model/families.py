"""The catalog of architectures: which families of models are known, and what to know of each.

Every row has a tiny random base in the tests, made in the form in which the family is published,
that passes the same checks. Anything else works too if it is a causal language model with plain
attention; what then could not be checked is said. Loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """What to know about a family, in Markdown."""

    en: str = ""
    zh: str = ""


_EXPERTS = Note(
    en="Mixture of experts: LoRA goes to attention, the experts stay as they are.",
    zh="混合专家模型：LoRA 只加在注意力层上，专家权重保持不变。",
)
_LATENT = Note(
    en="Mixture of experts with attention through a low rank: LoRA goes to attention, the dense"
    " layers and the shared experts; the routed experts stay as they are.",
    zh="混合专家模型，注意力经过低秩压缩：LoRA 加在注意力、稠密层和共享专家上，路由专家保持不变。",
)
_ROLES_END = Note(
    en="An answer ends where another role begins, or with `<|endoftext|>`; the last answer of a"
    " conversation is taught the latter. Templates that know calls as a turn's `metadata`, as"
    " published, get them so.",
    zh="回答在下一个角色开始处结束，或以 `<|endoftext|>` 结束；对话的最后一个回答学习后者。"
    "官方模板以消息的 `metadata` 表示调用，这里照此提供。",
)


@dataclass(frozen=True)
class Family:
    """A family of models that share an architecture and the form of conversations.

    Attributes:
        key: short name; the tests have a base of this name.
        name: as its publisher calls it.
        model_type: of its ``config.json``.
        hubs: ids that people use.
        ends: tokens that end an answer.
        system: whether its template knows a system turn.
        tools: whether its template knows tools.
        note: what to know, if anything.
    """

    key: str
    name: str
    model_type: str
    hubs: tuple[str, ...]
    ends: tuple[str, ...]
    system: bool = True
    tools: bool = False
    note: Note = Note()


_GLM_ENDS = ("<|endoftext|>", "<|user|>", "<|observation|>")
_CHATML_ENDS = ("<|im_end|>", "<|endoftext|>")
_DEEPSEEK_ENDS = ("<｜end▁of▁sentence｜>",)

FAMILIES: tuple[Family, ...] = (
    Family(
        "qwen2", "Qwen2, Qwen2.5", "qwen2",
        ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2-7B-Instruct"),
        _CHATML_ENDS, tools=True,
    ),
    Family(
        "qwen3", "Qwen3", "qwen3", ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B", "Qwen/Qwen3-8B"),
        _CHATML_ENDS, tools=True,
        note=Note(
            "Its template drops the thoughts of earlier answers and writes an empty one"
            " before a last answer that has none; what is learnt is what it writes.",
            "模板会去掉之前回答里的思考，并在没有思考的最后一个回答前写入空思考；"
            "学到的就是模板写出的内容。",
        ),
    ),
    Family(
        "qwen3_moe", "Qwen3 MoE", "qwen3_moe", ("Qwen/Qwen3-30B-A3B",), _CHATML_ENDS, tools=True,
        note=_EXPERTS,
    ),
    Family(
        "llama2", "Llama 2", "llama", ("meta-llama/Llama-2-7b-chat-hf",), ("</s>",),
        note=Note(
            "Ids are those of `tokenizer.json`. transformers 5 builds its `LlamaTokenizer` anew and"
            " leaves out the space after `<s>`.",
            "词元以 `tokenizer.json` 为准。transformers 5 会重新构造 `LlamaTokenizer`，"
            "去掉 `<s>` 之后的空格。",
        ),
    ),
    Family(
        "llama3", "Llama 3, 3.1, 3.2", "llama",
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.2-1B-Instruct"),
        ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"), tools=True,
        note=Note(
            "One call of a tool per turn. A template that writes today's date into the system"
            " turn gives other ids tomorrow.",
            "每轮只能调用一个工具。若模板在系统消息里写入当天日期，"
            "第二天得到的词元就会不同。",
        ),
    ),
    Family(
        "mistral", "Mistral 7B", "mistral", ("mistralai/Mistral-7B-Instruct-v0.3",), ("</s>",),
        tools=True,
        note=Note(
            "Sliding windows are kept in training and serving. A call's id has 9 characters. Its"
            " template writes the system turn only where the model is to go on: a conversation is"
            " learnt as it is asked, with the system turn.",
            "训练与服务都遵循滑动窗口。工具调用的 id 必须是 9 个字符。"
            "模板只在等待回答时写入系统消息；训练时按提问的形式学习，系统消息会保留。",
        ),
    ),
    Family(
        "mixtral", "Mixtral", "mixtral", ("mistralai/Mixtral-8x7B-Instruct-v0.1",), ("</s>",),
        note=_EXPERTS,
    ),
    Family(
        "glm", "GLM-4 (2024)", "glm", ("zai-org/glm-4-9b-chat-hf",), _GLM_ENDS, tools=True,
        note=_ROLES_END,
    ),
    Family(
        "glm4", "GLM-4-0414", "glm4", ("zai-org/GLM-4-9B-0414",), _GLM_ENDS, tools=True,
        note=_ROLES_END,
    ),
    Family(
        "gemma", "Gemma", "gemma", ("google/gemma-2b-it", "google/gemma-7b-it"),
        ("<end_of_turn>", "<eos>"), system=False,
    ),
    Family(
        "gemma2", "Gemma 2", "gemma2", ("google/gemma-2-2b-it", "google/gemma-2-9b-it"),
        ("<end_of_turn>", "<eos>"), system=False,
        note=Note(
            "Scores and logits are softly capped, as it was trained; that is slower than"
            " torch's own attention.",
            "注意力分数与 logits 按其训练方式做软截断，比 torch 自带的注意力慢一些。",
        ),
    ),
    Family(
        "gemma3", "Gemma 3 (text)", "gemma3_text",
        ("google/gemma-3-270m-it", "google/gemma-3-1b-it"),
        ("<end_of_turn>", "<eos>"),
        note=Note(
            "The text models only, not those that see images (4B and larger).",
            "仅纯文本模型，不含能看图的模型（4B 及以上）。",
        ),
    ),
    Family(
        "phi3", "Phi-3, Phi-3.5, Phi-4-mini", "phi3",
        ("microsoft/Phi-3-mini-4k-instruct", "microsoft/Phi-4-mini-instruct"),
        ("<|end|>", "<|assistant|>", "<|endoftext|>"),
        note=Note(
            "With 128k positions, a batch that holds a text beyond the original length is computed"
            " with the factors for long texts throughout, as transformers does it.",
            "128k 上下文的型号：一批里只要有一段超过原始长度的文本，"
            "整批都用长文本的缩放系数计算，与 transformers 一致。",
        ),
    ),
    Family("phi4", "Phi-4", "phi3", ("microsoft/phi-4",), _CHATML_ENDS),
    Family(
        "deepseek2", "DeepSeek-V2", "deepseek_v2", ("deepseek-ai/DeepSeek-V2-Lite-Chat",),
        _DEEPSEEK_ENDS, note=_LATENT,
    ),
    Family(
        "deepseek3", "DeepSeek-V3", "deepseek_v3", ("deepseek-ai/DeepSeek-V3",), _DEEPSEEK_ENDS,
        note=Note(
            "As DeepSeek-V2. The published weights are rounded to 8 bits (FP8), which is refused;"
            " take a copy in bfloat16.",
            "与 DeepSeek-V2 相同。官方权重为 FP8 格式，会被拒绝，请使用 bfloat16 版本。",
        ),
    ),
    Family(
        "internlm3", "InternLM3", "internlm3", ("internlm/internlm3-8b-instruct",),
        ("<|im_end|>", "</s>"),
    ),
)  # fmt: skip
"""The table, by publisher."""

_TYPES = frozenset(family.model_type for family in FAMILIES)
CAPPED = frozenset({"gemma2"})
"""Types whose models declare no support of torch's attention only because of their caps."""


def is_tested(model_type: str) -> bool:
    """Whether a family of this type is in the catalog."""
    return model_type in _TYPES


def unchecked(model_type: str) -> str:
    """What a plan says about a base outside the catalog; empty for one inside."""
    if is_tested(model_type):
        return ""
    return (
        f"{model_type} is outside the catalog of tested architectures: that packed documents do"
        " not see each other was tried when it was loaded; its chat template, its end tokens and"
        " answers from the engine's cache are taken as its files and transformers give them"
    )
