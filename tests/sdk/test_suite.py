"""OpenAI's own tests of its Python client, against a live server of ours.

Their ids are placeholders, which are put into the server's store; what we refuse is in one table,
and has to be refused exactly so. Nothing of theirs is kept in this repository.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.conftest import PATIENCE, Server, start_server
from tools.sdk_tests import FetchError, fetch

from tunewright.config.training import LoraConfig
from tunewright.core.records import Model
from tunewright.core.settings import Settings
from tunewright.core.store import Store

from .sdk_suite import seeds, table

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def theirs() -> Path:
    """The folder of their source distribution."""
    try:
        return fetch()
    except FetchError as error:
        pytest.skip(f"OPENAI'S TESTS WERE NOT RUN: {error}")


@pytest.fixture(scope="module")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose models go by the names that their tests use; it trains nothing."""
    home = tmp_path_factory.mktemp("sdk") / "home"
    bases = [home / name for name in (seeds.CHAT_MODEL, seeds.JOB_MODEL)]
    for base in bases:
        shutil.copytree(tiny_base, base)
    _add_tuned(home, bases[0])
    running = start_server(
        home, bases=[str(base) for base in bases], jobs={"slots": 0}, timeout=PATIENCE
    )
    try:
        yield running
    finally:
        running.stop()


def _add_tuned(home: Path, base: Path) -> None:
    """Models of one base, each with the same adapter: one engine answers for all names."""
    import torch

    from tunewright.model.adapters import attach_lora, save_adapter
    from tunewright.model.catalog import resolve_base
    from tunewright.model.loading import load_model
    from tunewright.model.rendering import Renderer

    store = Store(home, Settings(home=home, offline=True))
    found = resolve_base(str(base), store.settings)
    model = load_model(found, torch.device("cpu"), torch.float32)
    config = LoraConfig(rank=2)
    attach_lora(model, config, seed=1)
    for name in seeds.TUNED:
        record = Model(
            id=store.new_id(Model), name=name, base=str(base), base_digest=found.digest,
            renderer_hash=Renderer(found.folder).hash, run="run_0", step=1,
        )  # fmt: skip
        with store.stage(Model, record.id) as folder:
            save_adapter(model, config, record.base, folder)
        store.add(record)
    store.close()


def run_theirs(
    theirs: Path, server: Server, folder: Path, which: str
) -> subprocess.CompletedProcess[str]:
    """Their tests in a pytest of their own."""
    files = [str(theirs / "tests" / "api_resources" / name) for name in table.FILES]
    options = ["-c", str(HERE / "sdk_suite" / "pytest.ini"), "--rootdir", str(theirs)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-k", which, *files],
        cwd=folder,
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
            "PYTHONPATH": os.pathsep.join([str(theirs), str(HERE)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TEST_API_BASE_URL": f"{server.url}/v1",
            "SDK_SUITE_HOME": str(server.stderr.parent),
        },
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "which", ["not Async", pytest.param("Async", marks=pytest.mark.slow)], ids=["sync", "async"]
)
def test_openais_own_tests_pass(theirs: Path, server: Server, tmp_path: Path, which: str) -> None:
    """What the asynchronous client sends is the same, so its half is among the slow ones."""
    done = run_theirs(theirs, server, tmp_path, which)
    print(done.stdout[-8000:])
    assert done.returncode == 0, done.stdout[-8000:] + server.stderr.read_text()[-2000:]
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= 420
    assert "Traceback" not in server.stderr.read_text()
    assert not re.search(r" 5\d\d ", server.stderr.read_text())
