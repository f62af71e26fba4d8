"""Pydantic AI: an agent that answers, streams, calls a function, and gives objects.

It runs in that client's own environment: ``use_pydantic_ai.py URL KEY``.
"""

import asyncio
import json
import sys
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

URL, KEY = sys.argv[1:3]


class Ticket(BaseModel):
    """A complaint, sorted."""

    team: Literal["billing", "delivery"]
    urgent: bool


model = OpenAIChatModel("nano", provider=OpenAIProvider(base_url=URL, api_key=KEY))
plain = Agent(model, model_settings={"temperature": 0})


async def streamed() -> str:
    """The answer as it comes, put together."""
    async with plain.run_stream("你好") as reply:
        return "".join([piece async for piece in reply.stream_text(delta=True)])


whole = plain.run_sync("你好").output
for form in (NativeOutput(Ticket), ToolOutput(Ticket)):
    shaped = Agent(model, output_type=form).run_sync("My parcel has not come.").output
    assert isinstance(shaped, Ticket)
print(json.dumps({"text": whole, "streamed": asyncio.run(streamed())}))
