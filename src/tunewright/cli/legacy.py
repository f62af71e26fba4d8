"""``train --recipe lora.yaml`` with a recipe of ChatGLM3's own fine-tuning script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunewright import jobs
from tunewright.cli.display import Terminal
from tunewright.config.base import merge
from tunewright.config.data import PrepareConfig
from tunewright.config.legacy_recipes import Translation, is_legacy, own_options, translate
from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError
from tunewright.core.records import Dataset, Model
from tunewright.core.store import Store
from tunewright.model.catalog import resolve_base
from tunewright.model.folders import ModelFolder


def modern(values: dict[str, Any], store: Store, terminal: Terminal) -> dict[str, Any]:
    """Options of ``train`` as they are, or as a recipe of the script stands for them.

    The data files that such a recipe names are prepared first. They are looked for in the folder
    that ``--dataset`` names (the script's first argument), else in the current one; a dataset of
    the store that ``--dataset`` names is used as it is.

    Raises:
        ConfigError: the recipe's data is not there.
    """
    if not is_legacy(values):
        return values
    found, own = translate(values), own_options(values)
    terminal.say("The recipe is one of ChatGLM3's fine-tuning script. Here it means:")
    for note in found.notes:
        terminal.say(f"  {note}")
    merged = merge(found.values, own)
    if "base" not in merged:
        terminal.say(
            "  No --base is named: the bundled one is trained. ChatGLM3-6B is"
            " --base THUDM/chatglm3-6b, modelscope:ZhipuAI/chatglm3-6b or a folder."
        )
    # Wrong options show before any data is read.
    config = TrainConfig.build({"dataset": "latest", **merged})
    asked = own.get("dataset")
    if asked is not None and not Path(asked).is_dir():
        return merged
    folder = Path(asked or ".")
    record = jobs.run(_prepare(found, folder, config.base, store, terminal), store, terminal)
    if not isinstance(record, Dataset):
        raise TypeError("prepare returned no dataset")
    terminal.say(
        f"Dataset {record.id} ({record.name}); its report: "
        f"{store.folder(Dataset, record.id) / 'report.html'}"
    )
    return {**merged, "dataset": record.id}


def _prepare(
    found: Translation, folder: Path, base: str, store: Store, terminal: Terminal
) -> PrepareConfig:
    """What to prepare: the test file is locked away, rows to validate on come from training."""
    if "train" not in found.files:
        raise ConfigError(
            "the recipe names no data_config.train_file",
            "Prepare the data with tunewright prepare and name it with --dataset.",
        )
    held = found.files.get("test") or found.files.get("val")
    paths = [folder / name for name in (found.files["train"], held) if name]
    for path in paths:
        if not path.is_file():
            raise ConfigError(
                f"the recipe names {path.name}, which {path.parent.resolve()} does not hold",
                "Name the folder of the data with --dataset FOLDER, as the script's first"
                f" argument did, or run: tunewright prepare FILE --base {base}",
            )
    model = store.find(Model, base)
    base = model.base if model else base
    values: dict[str, Any] = {"files": (str(paths[0]),), "base": base}
    if found.max_tokens is not None:
        room = ModelFolder.read(resolve_base(base, store.settings, terminal).folder).context_length
        values["max_tokens"] = min(found.max_tokens, room)
    if held and held != found.files["train"]:
        values |= {"test_files": (str(paths[1]),), "split": {"test": 0.0}}
    return PrepareConfig.build(values)
