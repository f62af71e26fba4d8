"""The command line explains itself, refuses nonsense, and loads nothing heavy to do so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunewright.cli.main import COMMANDS, cli, main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    shown = capsys.readouterr()
    return int(caught.value.code or 0), shown.out, shown.err


def test_help_names_every_command_and_loads_neither_torch_nor_the_database() -> None:
    program = (
        "import sys\n"
        "from tunewright.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'sqlalchemy', 'pydantic', 'rich'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert "--json" in out or "list" in out


def test_every_flag_has_help() -> None:
    import click

    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or parameter.name == "device", f"{name} {parameter.opts}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "No such command 'fly'"),
        (["train", "--fly"], "No such option"),
        (["train", "--set", "lora.rnk=8"], "did you mean 'lora.rank'"),
        (["train", "--set", "epochs"], "key=value"),
        (["train", "--epochs", "-1"], "greater than 0"),
        (["train", "--dataset", "nothing"], "no dataset 'nothing'"),
        (["train", "--resume", "run_x", "--epochs", "2"], "--resume takes no other"),
        (["train", "--resume", "run_x"], "no run 'run_x'"),
        (["train", "--recipe", "missing.yaml"], "missing.yaml"),
        (["evaluate", "--models", "nothing", "--dataset", "x"], "no dataset 'x'"),
        (["evaluate"], "no model 'latest'"),
        (["models", "show", "nothing"], "no model 'nothing'"),
        (["prepare"], "'files'"),
        (["prepare", "--map", "question"], "key=value"),
        (["chat", "nano", "--prompt", ""], "the prompt is empty"),
    ],
)
def test_wrong_input_ends_with_2_and_one_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    split = 1 if arguments[0] not in {"models"} else 2
    code, out, err = run(capsys, *arguments[:split], "--home", str(home), *arguments[split:])
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert not home.exists()


def test_lists_of_an_empty_store(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("datasets", "runs", "models", "evaluations"):
        code, out, _ = run(capsys, name, "list", "--json", "--home", str(tmp_path / "home"))
        assert code == 0
        assert json.loads(out) == {name: []}


def test_an_unexpected_fault_shows_no_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "tunewright.db").mkdir()  # a folder where the database should be
    code, _, err = run(capsys, "models", "list", "--home", str(tmp_path))
    assert code == 1
    assert "Traceback" not in err
    assert "tunewright.db" in err


def test_shared_options_stand_before_the_command_as_well_as_after(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert run(capsys, "keys", "create", "crm", "--home", one)[0] == 0
    names = []
    for arguments in (
        ["--home", one, "--json", "keys", "list"],
        ["--json", "keys", "list", "--home", one],
        # What stands after the command counts.
        ["--home", two, "keys", "list", "--home", one, "--json"],
    ):
        code, out, _ = run(capsys, *arguments)
        assert code == 0
        names.append([key["name"] for key in json.loads(out)["keys"]])
    assert names == [["crm"]] * 3
    assert not Path(two).exists()


def test_debug_and_language_before_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = ["--home", str(tmp_path)]
    code, _, err = run(capsys, "--debug", *home, "models", "show", "nothing")
    assert (code, "Traceback" in err) == (2, True)
    code, _, err = run(capsys, *home, "models", "show", "nothing")
    assert (code, "Traceback" in err) == (2, False)
    code, _, err = run(capsys, "--lang", "fr", "doctor")
    assert code == 2
    assert "'fr' is not one of" in err
