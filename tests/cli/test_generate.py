"""``tunewright generate`` from the command line, and against our own server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.conftest import Server, start_server
from tests.data.generate.conftest import Recorded, handbook, recorded, refuse

from tunewright.cli.main import main

__all__ = ["handbook", "recorded"]


def run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["generate", arguments[0], "--home", str(home), *arguments[1:]])
    shown = capsys.readouterr()
    return int(caught.value.code or 0), shown.out, shown.err


@pytest.fixture
def arguments(recorded: Recorded, handbook: Path, tmp_path: Path) -> list[str]:
    output = str(tmp_path / "out.jsonl")
    return ["questions", str(handbook), "--endpoint", recorded.url, "--model", "m",
            "--output", output]  # fmt: skip


def test_a_dry_run_shows_cost_and_prompt_and_sends_nothing(
    recorded: Recorded,
    arguments: list[str],
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prices = ["--price-input", "2", "--price-output", "8"]
    code, out, err = run(capsys, home, *arguments, *prices, "--dry-run", "--json", "--lang", "zh")
    assert code == 0
    assert "押金应当在租期结束后七日内退还" in err
    assert "费用：约" in err
    estimate = json.loads(out.splitlines()[-1])["estimate"]
    assert (estimate["asks"], estimate["calls"]) == (2, 2)
    tokens = estimate["prompt_tokens"] * 2 + estimate["completion_tokens"] * 8
    assert estimate["cost"] == pytest.approx(tokens / 1e6)
    assert estimate["most_cost"] > estimate["cost"]
    assert recorded.requests == []
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_money_is_not_spent_without_a_yes(
    recorded: Recorded, arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, home, *arguments)
    assert code == 2
    assert "--yes" in err
    assert out == ""
    assert recorded.requests == []


def test_the_account_is_printed_and_given_as_json(
    arguments: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, home, *arguments, "--yes", "--json", "--lang", "zh")
    assert code == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["output"] == str(tmp_path / "out.jsonl")
    assert (result["asked"], result["accepted"], result["complete"]) == (6, 3, True)
    assert sum(result["rejected"].values()) == 3
    assert {"prompt_tokens", "completion_tokens", "seconds"} <= set(result)
    assert "6 个结果中采用 3 个" in err
    assert "不采用：引文不在原文中" in err


def test_a_refused_key_ends_with_1_and_says_what_to_do(
    recorded: Recorded,
    arguments: list[str],
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(os.environ, "TUNEWRIGHT_ENDPOINT_KEY", "sk-secret")
    recorded.always = refuse(401, "Incorrect API key provided: sk-secret")
    code, out, err = run(capsys, home, *arguments, "--yes", "--json")
    assert code == 1
    assert "answered 401" in err
    assert "--key-file" in err
    assert "sk-secret" not in out + err
    assert json.loads(out.splitlines()[-1])["complete"] is False
    assert recorded.headers[0]["Authorization"] == "Bearer sk-secret"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["questions"], "'files'"),
        (["questions", "x.md"], "'endpoint'"),
        (["texts", "--endpoint", "http://x", "--model", "m"], "no attributes"),
        (["texts", "--attribute", "topic"], "key=value"),
        (["paraphrases", "nothing", "--endpoint", "http://x", "--model", "m"], "no dataset"),
        (["questions", "x.md", "--endpoint", "http://x", "--model", "m"], "no such file"),
    ],
)
def test_wrong_input_ends_with_2_and_one_message(
    arguments: list[str], message: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, home, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""


def test_generated_rows_can_be_prepared(
    arguments: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, home, *arguments, "--yes")
    assert code == 0, err
    with pytest.raises(SystemExit) as caught:
        main(["prepare", str(tmp_path / "out.jsonl"), "--home", str(home), "--json", "--yes"])
    shown = capsys.readouterr()
    assert caught.value.code == 0, shown.err
    assert json.loads(shown.out.splitlines()[-1])["rows"]["kept"] == 3


def test_no_torch_is_loaded() -> None:
    program = (
        "import sys, tunewright.cli.generate, tunewright.data.generate.stage; "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    server = start_server(tmp_path / "served", queue=8)
    try:
        yield server
    finally:
        server.stop()


def test_our_own_server_is_an_endpoint_like_any_other(
    own: Server, handbook: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """nano cannot write JSON; what counts is that every result is accounted for, and honestly."""
    output = tmp_path / "nano.jsonl"
    command = ["questions", str(handbook), "--endpoint", f"{own.url}/v1", "--model", "nano",
               "--output", str(output), "--n", "2", "--per-reply", "1", "--max-tokens", "48",
               "--yes", "--json"]  # fmt: skip
    code, out, err = run(capsys, home, *command)
    result = json.loads(out.splitlines()[-1])
    assert result["asked"] == 4
    assert result["answered"] == 4, err
    assert result["accepted"] + sum(result["rejected"].values()) == 4
    assert code == (0 if result["accepted"] else 1)
    assert output.exists() == bool(result["accepted"])
    assert result["calls"] >= 4
    assert result["completion_tokens"] > 0
    # Answered once, it needs no server any more.
    own.stop()
    again, out, _ = run(capsys, home, *command)
    assert again == code
    assert {**json.loads(out.splitlines()[-1]), "seconds": 0} == {**result, "seconds": 0}
    shutil.rmtree(tmp_path / "served")
