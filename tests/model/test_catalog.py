"""Finding bases: the bundle, folders that may be hostile, and two hubs faked on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from tunewright.core.errors import ModelError
from tunewright.core.settings import Settings
from tunewright.model.catalog import resolve_base
from tunewright.model.weights import check_safetensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Path:
    """A base's folder to spoil."""
    copied = tmp_path / "base"
    shutil.copytree(tiny_base, copied)
    return copied


@pytest.fixture
def offline(home: Path) -> Settings:
    return Settings(home=home, offline=True)


def change(path: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}), encoding="utf-8")


def test_a_folder_is_a_base_and_its_digest_follows_its_files(
    folder: Path, tiny_base: Path, offline: Settings
) -> None:
    base = resolve_base(str(folder), offline)
    assert (base.name, base.folder) == (str(folder), folder)
    assert base.digest == resolve_base(str(tiny_base), offline).digest
    assert not offline.home.exists()
    change(folder / "config.json", rope_theta=5.0)
    assert resolve_base(str(folder), offline).digest != base.digest


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "auto_map", {"AutoModel": "modeling_x.X"}),
        ("config.json", "vision_config", {"auto_map": {"AutoConfig": "x.X"}}),
        ("tokenizer_config.json", "auto_map", {"AutoTokenizer": ["x.X", None]}),
        ("config.json", "_attn_implementation_internal", "somebody/kernel"),
        ("generation_config.json", "auto_map", {"GenerationMixin": "custom.generate"}),
        ("processor_config.json", "auto_map", {"AutoProcessor": "x.X"}),
        ("config.json", "text_config", [{"_experts_implementation": "x/y"}]),
        ("generation_config.json", "custom_pipelines", {"x": {"impl": "x.X"}}),
    ],
)
def test_code_in_a_config_is_refused(
    folder: Path, offline: Settings, file: str, key: str, value: object
) -> None:
    if not (folder / file).exists():
        (folder / file).write_text("{}")
    change(folder / file, **{key: value})
    with pytest.raises(ModelError, match=file.replace(".", r"\.")):
        resolve_base(str(folder), offline)


def test_an_adapter_beside_the_model_is_refused(folder: Path, offline: Settings) -> None:
    """Loaders hang it on the model, and its weights may be pickled; no digest would tell."""
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4}))
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(ModelError, match=r"holds an adapter \(adapter_config\.json\)"):
        resolve_base(str(folder), offline)


def test_missing_and_broken_files_are_named(folder: Path, offline: Settings) -> None:
    config = (folder / "config.json").read_text()
    for text, message in (("[]", "JSON object"), ("{", "cannot be read"), ("[" * 99999, "config")):
        (folder / "config.json").write_text(text)
        with pytest.raises(ModelError, match=message):
            resolve_base(str(folder), offline)
    (folder / "config.json").write_text(config)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        resolve_base(str(folder), offline)


def test_pickled_weights_are_refused(folder: Path, offline: Settings) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        resolve_base(str(folder), offline)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model\.bin\)"):
        resolve_base(str(folder), offline)


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 7,
        safetensors({}, length=2**63),
        safetensors({}, length=10_000),
        safetensors(b"\xff\xfe"),
        safetensors([1, 2]),
        safetensors({"a": 1}),
        safetensors({"a": tensor(0, 8, 2)}),
        safetensors({"a": tensor(0, 8, 2)}, b"x" * 7),
        safetensors({"a": tensor(0, 8, 2)}, b"x" * 9),
        safetensors({"a": tensor(0, 8, 3)}, b"x" * 8),
        safetensors({"a": tensor(0, 8, -2)}, b"x" * 8),
        safetensors({"a": tensor(8, 0, 2)}, b"x" * 8),
        safetensors({"a": tensor(0, 8, 2), "b": tensor(4, 12, 2)}, b"x" * 12),
        safetensors({"a": tensor(4, 12, 2)}, b"x" * 12),
        safetensors({"a": tensor(0, 8, 2, dtype="OBJ")}, b"x" * 8),
        safetensors({"a": tensor(0, 8, True, 2)}, b"x" * 8),
        safetensors(b'{"a": {}, "a": {}}'),
        safetensors(b"[" * 5000 + b"]" * 5000),
    ],
)
def test_inconsistent_safetensors_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    with pytest.raises(ModelError, match=r"x\.safetensors"):
        check_safetensors(path)


def test_sound_safetensors_pass(tmp_path: Path, tiny_base: Path) -> None:
    check_safetensors(tiny_base / "model.safetensors")
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors({"__metadata__": {"a": "b"}, "e": tensor(0, 0, 0, 4)}))
    check_safetensors(path)


def test_an_index_may_only_name_files_beside_it(folder: Path, offline: Settings) -> None:
    index = folder / "model.safetensors.index.json"
    for name, message in (
        ("../model.safetensors", "not a safetensors file of this folder"),
        ("model.bin", "not a safetensors file of this folder"),
        ("model-00001-of-00001.safetensors", "lacks model-00001"),
    ):
        index.write_text(json.dumps({"weight_map": {"x": name}}))
        with pytest.raises(ModelError, match=message):
            resolve_base(str(folder), offline)
    index.write_text(json.dumps({"weight_map": {"x": "model.safetensors"}}))
    assert resolve_base(str(folder), offline)


def test_unknown_names_are_answered_with_the_known(offline: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'nano'"):
        resolve_base("nanno", offline)
    with pytest.raises(ModelError, match="no such folder"):
        resolve_base(str(tmp_path / "missing"), offline)
    with pytest.raises(ModelError, match="modelscope:organisation/model"):
        resolve_base("modelscope:qwen", offline)
    for name in ("org/model", "modelscope:org/model"):
        with pytest.raises(ModelError, match="not on this machine") as refusal:
            resolve_base(name, offline)
        assert "HF_HUB_OFFLINE" in refusal.value.hint


class Hub:
    """A folder served as Hugging Face and as ModelScope serve one; records what was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.damaged = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                hub.asked.append(self.path)
                status, headers, body = hub.reply(self.path)
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Tests need no access log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def reply(self, target: str) -> tuple[int, dict[str, str], bytes]:
        address = urlparse(target)
        query = parse_qs(address.query)
        if address.path.startswith("/api/v1/models/org/model/repo"):
            return self.modelscope(address.path, query)
        if address.path.startswith("/api/models/org/model"):
            return self.huggingface_listing(address.path)
        if address.path.startswith("/org/model/resolve/"):
            path = self.folder / address.path.rsplit("/", 1)[-1]
            if not path.is_file():
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            tag = hashlib.sha256(path.read_bytes()).hexdigest()
            return 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}, path.read_bytes()
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def huggingface_listing(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if "/tree/" in path:
            tree = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40}
                for p in self.files()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
        info = {
            "id": "org/model",
            "sha": COMMIT,
            "siblings": [{"rfilename": p.name} for p in self.files()],
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()

    def modelscope(
        self, path: str, query: dict[str, list[str]]
    ) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/repo/files"):
            files = [
                {
                    "Name": p.name,
                    "Path": p.name,
                    "Type": "blob",
                    "Size": p.stat().st_size,
                    "Sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
                }
                for p in self.files()
            ]
            files += [
                {"Name": "sub", "Path": "sub", "Type": "tree", "Size": 0},
                {"Name": "x.json", "Path": "../x.json", "Type": "blob", "Size": 1},
            ]
            return 200, {}, json.dumps({"Code": 200, "Data": {"Files": files}}).encode()
        body = (self.folder / query["FilePath"][0]).read_bytes()
        return 200, {}, b"damaged" + body if self.damaged else body


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    opened = Hub(folder)
    yield opened
    opened.close()


@pytest.fixture
def online(hub: Hub, home: Path) -> Settings:
    return Settings(home=home, huggingface_endpoint=hub.url, modelscope_endpoint=hub.url)


@pytest.mark.parametrize("name", ["modelscope:org/model", "modelscope:org/model@v1"])
def test_modelscope_models_are_fetched_once(
    hub: Hub, online: Settings, offline: Settings, tiny_base: Path, name: str
) -> None:
    base = resolve_base(name, online)
    assert base.digest == resolve_base(str(tiny_base), offline).digest
    names = {path.name for path in base.folder.iterdir()}
    assert "model.safetensors" in names
    assert not names & {"pytorch_model.bin", "modeling_evil.py", "x.json"}
    asked = len(hub.asked)
    assert resolve_base(name, replace(offline, home=online.home)) == base
    assert len(hub.asked) == asked


def test_a_damaged_download_is_refused_and_leaves_nothing(hub: Hub, online: Settings) -> None:
    hub.damaged = True
    with pytest.raises(ModelError, match="arrived damaged"):
        resolve_base("modelscope:org/model", online)
    left = [p for p in (online.home / "bases" / "modelscope").rglob("*") if p.is_file()]
    assert left == []
    hub.damaged = False
    assert resolve_base("modelscope:org/model", online)


def test_models_that_a_hub_does_not_have(online: Settings) -> None:
    with pytest.raises(ModelError, match="ModelScope has no model 'org/other'"):
        resolve_base("modelscope:org/other", online)


def test_an_unreachable_hub_is_named(home: Path) -> None:
    nowhere = Settings(home=home, modelscope_endpoint="http://127.0.0.1:9")
    with pytest.raises(ModelError, match="could not be downloaded"):
        resolve_base("modelscope:org/model", nowhere)


def in_a_process(name: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    """Resolve in a process of its own: the hub library reads its environment when imported."""
    code = (
        "import sys; from pathlib import Path; from tunewright.core.settings import Settings;"
        "from tunewright.model.catalog import resolve_base;"
        "from tunewright.core.errors import TunewrightError\n"
        "settings = Settings(Path(sys.argv[2]), sys.argv[3] == 'True', sys.argv[4])\n"
        "try: print(resolve_base(sys.argv[1], settings).digest)\n"
        "except TunewrightError as error: print(error)"
    )
    given = (settings.home, settings.offline, settings.huggingface_endpoint)
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, name, *map(str, given)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )


def test_huggingface_models_are_fetched_once(
    hub: Hub, online: Settings, offline: Settings, tiny_base: Path
) -> None:
    digest = resolve_base(str(tiny_base), offline).digest
    assert in_a_process("org/model", online).stdout.strip() == digest
    names = {path.name for path in (online.home / "bases").rglob("*")}
    assert "model.safetensors" in names
    assert not names & {"pytorch_model.bin", "modeling_evil.py"}
    asked = len(hub.asked)
    unplugged = replace(online, offline=True)
    assert in_a_process("org/model", unplugged).stdout.strip() == digest
    assert len(hub.asked) == asked


def test_huggingface_refusals_are_plain(hub: Hub, online: Settings) -> None:
    done = in_a_process("org/other", online)
    assert "Hugging Face has no model 'org/other'" in done.stdout
    nowhere = replace(online, huggingface_endpoint="http://127.0.0.1:9")
    done = in_a_process("org/model", nowhere)
    assert "http://127.0.0.1:9 cannot be reached" in done.stdout
    assert "Traceback" not in done.stderr
