"""``keys``: the secret is printed once and alone, and everything else never shows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.cli.main import main


def run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["keys", *arguments, "--home", str(home)])
    shown = capsys.readouterr()
    return int(caught.value.code or 0), shown.out, shown.err


def test_a_keys_life(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    code, secret, told = run(
        capsys, home, "create", "客服", "--project", "sales", "--expires", "30d",
        "--scope", "inference,models.read", "--tokens-per-minute", "9000", "--concurrency", "2",
    )  # fmt: skip
    assert code == 0
    assert secret.startswith("sk-tw-")
    assert secret.count("\n") == 1
    secret = secret.strip()
    assert secret not in told
    _, out, table = run(capsys, home, "list", "--json")
    (key,) = json.loads(out)["keys"]
    assert (key["name"], key["project"], key["state"]) == ("客服", "sales", "valid")
    assert key["limits"] == {"tokens_per_minute": 9000, "concurrency": 2}
    assert key["expires"] == pytest.approx(key["created"] + 30 * 86400)
    _, one, _ = run(capsys, home, "show", "客服", "--json")
    assert json.loads(one) == key
    assert secret not in out + table + one
    code, out, _ = run(capsys, home, "revoke", key["id"], "--json")
    assert (code, json.loads(out)["state"]) == (0, "revoked")


def test_with_json_the_secret_is_in_the_object(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    _, out, told = run(capsys, home, "create", "crm", "--json")
    made: dict[str, Any] = json.loads(out)
    assert made["secret"].startswith(made["shown"])
    assert made["secret"] not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["create", "a", "--scope", "root"], "no scope 'root'"),
     (["create", "a", "--expires", "soon"], "no length of time"),
     (["create", "a\nb"], "no line breaks"),
     (["create", "a", "--concurrency", "0"], "greater than or equal to 1"),
     (["revoke", "none"], "no key 'none'")],
)  # fmt: skip
def test_wrong_input_makes_nothing(
    capsys: pytest.CaptureFixture[str], home: Path, arguments: list[str], message: str
) -> None:
    code, out, err = run(capsys, home, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not home.exists()


def test_what_a_key_may_ask_is_shown_and_changed(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    _, _, told = run(capsys, home, "create", "crm", "--models", "clerk, ft:nano:law:*")
    assert "may ask clerk, ft:nano:law:*" in told
    code, out, told = run(capsys, home, "change", "crm", "--models", "*", "--json")
    assert (code, json.loads(out)["models"]) == (0, ["*"])
    assert "may ask every model" in told
    for arguments, message in (
        (["change", "crm"], "nothing is to change"),
        (["change", "crm", "--models", "a*b"], "at the end only"),
        (["change", "crm", "--models", "a,,b"], "is no name"),
        (["change", "none", "--models", "a"], "no key 'none'"),
    ):
        code, out, err = run(capsys, home, *arguments)
        assert (code, out) == (2, "")
        assert message in err
    _, out, _ = run(capsys, home, "show", "crm", "--json")
    assert json.loads(out)["models"] == ["*"]
