"""Instructor: objects out of answers, by schema and by a function, whole and while they come.

It runs in that client's own environment: ``use_instructor.py URL KEY``.
"""

import json
import sys
from typing import Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel

URL, KEY = sys.argv[1:3]
HELLO = [{"role": "user", "content": "你好"}]


class Ticket(BaseModel):
    """A complaint, sorted."""

    team: Literal["billing", "delivery"]
    urgent: bool


client = OpenAI(base_url=URL, api_key=KEY)
complaint = [{"role": "user", "content": "My parcel has not come."}]
found = []
for mode in (instructor.Mode.JSON_SCHEMA, instructor.Mode.TOOLS):
    asking = instructor.from_openai(client, mode=mode)
    options = {"model": "nano", "messages": complaint, "temperature": 0, "max_retries": 0}
    found.append(asking.chat.completions.create(response_model=Ticket, **options))
    parts = list(asking.chat.completions.create_partial(response_model=Ticket, **options))
    assert Ticket(**parts[-1].model_dump())
assert all(isinstance(one, Ticket) for one in found)

whole = client.chat.completions.create(model="nano", messages=HELLO, temperature=0)
print(json.dumps({"text": whole.choices[0].message.content}))
