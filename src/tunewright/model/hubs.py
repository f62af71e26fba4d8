"""Fetching bases from Hugging Face and ModelScope into the home folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx

from tunewright import __version__
from tunewright.core.errors import ModelError
from tunewright.core.files import disk_errors, fsync_folder
from tunewright.core.settings import Settings

_WANTED = (".json", ".safetensors", ".jinja", "tokenizer.model")
_PATTERNS = tuple(f"*{ending}" for ending in _WANTED)
CONFIG = "config.json"
WITH_TORCH_FILES = (*_PATTERNS, "pytorch_model*.bin")
"""What is fetched of a model that is published as torch files only and is read all the same."""
_CHUNK = 1 << 20
_OFFLINE = "Offline mode is on (HF_HUB_OFFLINE); unset it, or use nano or a local folder."


def fetch_huggingface(
    identity: str, settings: Settings, files: tuple[str, ...] = _PATTERNS
) -> Path:
    """The folder of a Hugging Face model, downloaded if it is not there yet.

    Args:
        identity: ``org/name`` or ``org/name@revision``.
        settings: endpoint, token, offline mode and home.
        files: patterns of what is needed.

    Raises:
        ModelError: unknown, gated, unreachable, or not cached while offline.
    """
    # Half a second of imports that ModelScope does not need.
    from huggingface_hub import errors, snapshot_download

    name, _, revision = identity.partition("@")
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision or None,
                cache_dir=settings.home / "bases" / "huggingface",
                endpoint=settings.huggingface_endpoint,
                token=settings.huggingface_token or False,
                allow_patterns=list(files),
                ignore_patterns=["*/*", ".*"],
                local_files_only=settings.offline,
            )
        )
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        if settings.offline:
            raise ModelError(f"base {name!r} is not on this machine", _OFFLINE) from None
        raise ModelError(
            f"base {name!r}: {settings.huggingface_endpoint} cannot be reached",
            "Check the network, set HF_ENDPOINT to a mirror, or use modelscope:ID or a folder.",
        ) from None
    except errors.GatedRepoError:
        raise ModelError(
            f"base {name!r} asks for its licence to be accepted",
            f"Accept it at {settings.huggingface_endpoint}/{name} and set HF_TOKEN.",
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise ModelError(
            f"Hugging Face has no model {identity!r} that you may read",
            "Check the spelling; for a private model set HF_TOKEN.",
        ) from None
    except (errors.HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise ModelError(f"base {name!r} could not be downloaded: {error}") from None


def fetch_modelscope(identity: str, settings: Settings, files: tuple[str, ...] = _PATTERNS) -> Path:
    """The folder of a ModelScope model, downloaded if it is not there yet.

    Args:
        identity: ``org/name`` or ``org/name@revision``; the revision is ``master`` if not given.
        settings: endpoint, offline mode and home.
        files: patterns of what is needed.

    Raises:
        ModelError: unknown, unreachable, damaged on the way, or not cached while offline.
    """
    name, _, revision = identity.partition("@")
    revision = revision or "master"
    folder = settings.home / "bases" / "modelscope" / f"{name}@{revision}".replace("/", "--")
    # A folder without torch files may be complete for who does not ask for them.
    complete = folder / ("complete" if files != WITH_TORCH_FILES else "complete-torch")
    if complete.is_file():
        return folder
    if settings.offline:
        raise ModelError(f"base modelscope:{identity} is not on this machine", _OFFLINE)
    agent = {"User-Agent": f"tunewright/{__version__}"}
    try:
        with httpx.Client(timeout=60, follow_redirects=True, headers=agent) as client:
            hub = _ModelScope(client, f"{settings.modelscope_endpoint}/api/v1/models/{name}")
            entries = hub.list(name, revision)
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                for entry in entries:
                    if any(fnmatchcase(str(entry["Path"]), pattern) for pattern in files):
                        hub.fetch(entry, revision, folder)
                if files != (CONFIG,):
                    complete.touch()
                fsync_folder(folder)
    except httpx.HTTPError as error:
        raise ModelError(
            f"base modelscope:{identity} could not be downloaded: {error or type(error).__name__}",
            "Check the network or set MODELSCOPE_ENDPOINT; finished files are kept.",
        ) from None
    return folder


class _ModelScope:
    """The two calls of ModelScope's public HTTP interface that a download needs."""

    def __init__(self, client: httpx.Client, address: str) -> None:
        self._client = client
        self._address = address

    def list(self, name: str, revision: str) -> list[dict[str, Any]]:
        """The wanted files at the top of the repository: Path, Size and mostly Sha256."""
        answer = self._client.get(
            f"{self._address}/repo/files", params={"Revision": revision, "Recursive": "true"}
        )
        if answer.status_code in {403, 404}:
            raise ModelError(
                f"ModelScope has no model {name!r} at revision {revision!r}", "Check the spelling."
            )
        answer.raise_for_status()
        try:
            files = answer.json()["Data"]["Files"]
            wanted = [f for f in files if f.get("Type") != "tree" and _wanted(str(f["Path"]))]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{self._address} did not answer with a list of files") from None
        if not wanted:
            raise ModelError(f"ModelScope's model {name!r} has no safetensors or JSON files")
        return wanted

    def fetch(self, entry: dict[str, Any], revision: str, folder: Path) -> None:
        """Stream one file to a temporary name, compare its hash, rename."""
        path = folder / str(entry["Path"])
        expected = str(entry.get("Sha256") or "").lower()
        if path.is_file() and path.stat().st_size == entry.get("Size"):
            return
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                found = self._stream(path.name, revision, file)
                file.flush()
                os.fsync(file.fileno())
            if expected and found != expected:
                raise ModelError(
                    f"{path.name} arrived damaged: its SHA-256 is {found}, not {expected}",
                    "Run the command again.",
                )
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _stream(self, name: str, revision: str, file: Any) -> str:
        query = {"Revision": revision, "FilePath": name}
        sha256 = hashlib.sha256()
        with self._client.stream("GET", f"{self._address}/repo", params=query) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes(_CHUNK):
                file.write(chunk)
                sha256.update(chunk)
        return sha256.hexdigest()


def _wanted(path: str) -> bool:
    endings = (*_WANTED, ".bin")
    return Path(path).name == path and path.endswith(endings) and not path.startswith(".")
