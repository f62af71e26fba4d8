"""Finding a base model by its name: the bundled one, a folder, or one of two hubs."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tunewright.core.errors import ModelError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.files import digest, sha256_file, write_json_atomic
from tunewright.core.settings import Settings
from tunewright.model.chatglm3.convert import is_chatglm, native_folder
from tunewright.model.folders import ModelFolder
from tunewright.model.weights import weight_files

BUNDLED = ("nano",)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_CACHED_FROM = 64 * 2**20


@dataclass(frozen=True)
class Base:
    """A base model that is present and trusted.

    Attributes:
        name: as the user wrote it.
        folder: its files.
        digest: SHA-256 over config, tokenizer and weights; equal digests are equal models.
    """

    name: str
    folder: Path
    digest: str

    @property
    def lasting_name(self) -> str:
        """The name as it can be found from any working directory later."""
        path = Path(self.name).expanduser()
        return str(path.resolve()) if self.name not in BUNDLED and path.is_dir() else self.name


def resolve_base(name: str, settings: Settings, listen: Listener = ignore) -> Base:
    """Find, fetch if needed, and check a base.

    Args:
        name: ``nano``, a folder, a Hugging Face id ``org/name[@revision]``, or
            ``modelscope:org/name[@revision]``.
        settings: home folder, hub addresses, offline mode.
        listen: hears ``progress`` where large files are seen for the first time, and where the
            base is first copied into a layout that can be loaded.

    Raises:
        ModelError: not found, not reachable, or not safe to load.
        StorageError: no room for such a copy.
    """
    folder = _locate(name, settings)
    hashes = _Hashes(settings.home, listen)
    if is_chatglm(folder):
        folder = native_folder(folder, settings.home, hashes.of, listen)
    ModelFolder.read(folder)
    weights = weight_files(folder)
    named = [folder / "config.json", folder / "tokenizer.json", *weights]
    return Base(name, folder, digest({path.name: hashes.of(path) for path in named}))


def find_config(name: str, settings: Settings) -> Path:
    """The folder with a base's ``config.json``; of a base on a hub only that file is fetched.

    Weights that are there are neither read nor checked: this is for planning.

    Raises:
        ModelError: not found or not reachable.
    """
    folder = _locate(name, settings, config_only=True)
    if not (folder / "config.json").is_file():
        raise ModelError(f"model folder {folder} has no config.json")
    return folder


def _locate(name: str, settings: Settings, config_only: bool = False) -> Path:
    if name in BUNDLED:
        return _bundled(name)
    if name.startswith("modelscope:"):
        identity = name.removeprefix("modelscope:")
        if not _HUB_ID.fullmatch(identity):
            raise ModelError(f"{name!r} is not of the form modelscope:organisation/model")
        return _fetch(identity, settings, True, config_only)
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if name.startswith((".", "/", "~", "\\")) or name.count("/") > 1:
        raise ModelError(f"base {name!r}: there is no such folder")
    if _HUB_ID.fullmatch(name):
        return _fetch(name, settings, False, config_only)
    close = difflib.get_close_matches(name, BUNDLED, n=1)
    raise ModelError(
        f"base {name!r} is neither bundled nor a folder" + (f"; did you mean {close[0]!r}?" if close
        else ""),
        f"Use {', '.join(BUNDLED)}, a folder, organisation/model from Hugging Face, or"
        " modelscope:organisation/model.",
    )  # fmt: skip


def _fetch(identity: str, settings: Settings, modelscope: bool, config_only: bool) -> Path:
    # HTTP clients take long to import; the bundled base and folders do without.
    from tunewright.model.hubs import CONFIG, WITH_TORCH_FILES, fetch_huggingface, fetch_modelscope

    fetch = fetch_modelscope if modelscope else fetch_huggingface
    if config_only:
        return fetch(identity, settings, (CONFIG,))
    folder = fetch(identity, settings)
    if is_chatglm(folder) and not any(folder.glob("*.safetensors")):
        return fetch(identity, settings, WITH_TORCH_FILES)
    return folder


def _bundled(name: str) -> Path:
    folder = Path(str(files("tunewright"))) / "bases" / name
    needed = ("config.json", "tokenizer.json", "model.safetensors")
    missing = [file for file in needed if not (folder / file).is_file()]
    if missing:
        raise ModelError(
            f"the bundled base {name} is incomplete: {', '.join(missing)} missing in {folder}",
            "Install Tunewright again.",
        )
    return folder


class _Hashes:
    """File hashes; those of large files are remembered by size and modification time."""

    def __init__(self, home: Path, listen: Listener) -> None:
        self._path = home / "bases" / "hashes.json"
        self._listen = listen

    def of(self, path: Path) -> str:
        """SHA-256 of a file."""
        stat = path.stat()
        if stat.st_size < _CACHED_FROM:
            return sha256_file(path)
        known = self._read()
        key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in known:
            self._tell(path, 0)
            known[key] = sha256_file(path)
            self._tell(path, 1)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json_atomic(self._path, known)
        return known[key]

    def _tell(self, path: Path, done: int) -> None:
        data = {"stage": f"checking {path.name}", "done": done, "total": 1}
        self._listen(Event(kind="progress", data=data))

    def _read(self) -> dict[str, str]:
        try:
            value = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}
