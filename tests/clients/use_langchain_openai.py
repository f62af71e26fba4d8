"""LangChain: answers, a stream, structured output both ways, a bound tool, embeddings.

It runs in that client's own environment: ``use_langchain_openai.py URL KEY``.
"""

import json
import sys
from typing import Literal

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

URL, KEY = sys.argv[1:3]


class Paint(BaseModel):
    """Paint the wall."""

    colour: Literal["red", "white"]


model = ChatOpenAI(model="nano", base_url=URL, api_key=KEY, temperature=0)
whole = model.invoke("你好")
assert whole.usage_metadata["output_tokens"] > 0
streamed = "".join(piece.content for piece in model.stream("你好"))
for method in ("json_schema", "function_calling"):
    shaped = model.with_structured_output(Paint, method=method).invoke("Paint it red.")
    assert isinstance(shaped, Paint)
bound = model.bind_tools([Paint], tool_choice="any").invoke("Paint it red.")
assert [call["name"] for call in bound.tool_calls] == ["Paint"]
# Else it fetches a tokenizer, to send tokens of another model.
embed = OpenAIEmbeddings(model="nano", base_url=URL, api_key=KEY, check_embedding_ctx_length=False)
assert len(embed.embed_documents(["sky", "grass"])) == 2

print(json.dumps({"text": whole.content, "streamed": streamed}))
