"""A pytest plugin in the place of the conftest of OpenAI's tests: same fixtures, our server.

Their own wants packages that nothing else here needs; its third client, over aiohttp, sends what
the second one does.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from pathlib import Path

import openai
import pytest

from sdk_suite import seeds, table
from tunewright.core.records import Record
from tunewright.core.settings import Settings
from tunewright.core.store import Store

AIOHTTP = "aiohttp"


def name_of(item: pytest.Item) -> str:
    """As the table names it."""
    path = item.path.as_posix().partition("/api_resources/")[2]
    return f"{path}::{item.name}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the third client, and skip what the table says."""
    doubled = [item for item in items if AIOHTTP in item.name]
    config.hook.pytest_deselected(items=doubled)
    items[:] = [item for item in items if item not in doubled]
    for item in items:
        why = table.entry(table.SKIPPED, name_of(item))
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test of what we refuse passes if it is refused exactly so."""
    refusal = table.entry(table.REFUSED, name_of(pyfuncitem))
    if refusal is None:
        return (yield)
    with pytest.raises(openai.APIStatusError) as caught:
        yield
    error = caught.value
    assert (error.status_code, error.code, error.param) == (
        refusal.status,
        refusal.code,
        refusal.param,
    ), (error.message, refusal.why)
    assert error.request_id is not None
    return True


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """The server's."""
    home = Path(os.environ["SDK_SUITE_HOME"])
    opened = Store(home, Settings(home=home, offline=True))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def made(store: Store) -> Sequence[Record]:
    """What the tests take for granted."""
    found = seeds.placeholders(store)
    seeds.restore(store, found)
    seeds.tell(store)
    return found


@pytest.fixture(autouse=True)
def _as_at_the_beginning(store: Store, made: Sequence[Record]) -> None:
    seeds.restore(store, made)


@pytest.fixture(scope="session")
def client(request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """Loose or strict about what it gets."""
    strict = bool(getattr(request, "param", True))
    with openai.OpenAI(
        base_url=os.environ["TEST_API_BASE_URL"],
        api_key="My API Key",
        _strict_response_validation=strict,
        max_retries=0,
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
async def async_client(request: pytest.FixtureRequest) -> AsyncIterator[openai.AsyncOpenAI]:
    """As ``client``."""
    strict = bool(getattr(request, "param", True))
    async with openai.AsyncOpenAI(
        base_url=os.environ["TEST_API_BASE_URL"],
        api_key="My API Key",
        _strict_response_validation=strict,
        max_retries=0,
    ) as opened:
        yield opened
