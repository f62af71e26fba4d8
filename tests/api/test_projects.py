"""Projects: what one makes is to the others as though it did not exist, by every verb and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tunewright.core.api_keys import issue_key
from tunewright.core.store import Store

from .conftest import start_server
from .test_fine_tuning import examples


def sent_with(method: str, path: str) -> dict[str, Any]:
    """A body that the route would take."""
    if method != "POST":
        return {}
    return {"files": {"data": b"abc"}} if path.endswith("/parts") else {"json": {"part_ids": ["x"]}}


@pytest.mark.timeout(120)
def test_another_projects_objects_are_as_though_there_were_none(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = Store(home)
    secrets = {name: issue_key(store, name, project=name).secret for name in ("a", "b")}
    server = start_server(home, jobs={"slots": 0})
    try:
        mine, theirs = (
            httpx.Client(
                base_url=f"{server.url}/v1", headers={"Authorization": f"Bearer {secrets[name]}"}
            )
            for name in ("a", "b")
        )
        with mine, theirs:
            body: Any = {"files": {"file": ("a", examples(12))}, "data": {"purpose": "fine-tune"}}
            file = mine.post("/files", **body).json()["id"]
            create = {"model": "nano", "training_file": file}
            job = mine.post("/fine_tuning/jobs", json=create).json()["id"]
            announced = {"filename": "a", "purpose": "batch", "bytes": 3, "mime_type": "t"}
            upload = mine.post("/uploads", json=announced).json()["id"]
            for method, path in (
                ("GET", f"/files/{file}"), ("GET", f"/files/{file}/content"),
                ("DELETE", f"/files/{file}"), ("GET", f"/fine_tuning/jobs/{job}"),
                ("POST", f"/fine_tuning/jobs/{job}/cancel"),
                ("POST", f"/fine_tuning/jobs/{job}/pause"),
                ("POST", f"/fine_tuning/jobs/{job}/resume"),
                ("GET", f"/fine_tuning/jobs/{job}/events"),
                ("GET", f"/fine_tuning/jobs/{job}/checkpoints"),
                ("POST", f"/uploads/{upload}/parts"), ("POST", f"/uploads/{upload}/complete"),
                ("POST", f"/uploads/{upload}/cancel"),
            ):  # fmt: skip
                foreign, none = (
                    theirs.request(method, one, **sent_with(method, path))
                    for one in (path, _of_nothing(path, (file, job, upload)))
                )
                assert foreign.status_code == none.status_code == 404, path
                errors = [reply.json()["error"] for reply in (foreign, none)]
                assert [{**error, "message": ""} for error in errors] == [
                    {**errors[0], "message": ""}
                ] * 2
            for path in ("/files", "/fine_tuning/jobs"):
                assert theirs.get(path).json()["data"] == []
                assert len(mine.get(path).json()["data"]) == 1
            own = theirs.post("/files", **body).json()["id"]
            for param in ("training_file", "validation_file"):
                tries = [{**create, "training_file": own, param: one} for one in (file, "file-x")]
                foreign, none = (theirs.post("/fine_tuning/jobs", json=one) for one in tries)
                assert foreign.status_code == none.status_code == 400
                assert foreign.json()["error"]["code"] == "file_not_found"
                assert none.json()["error"]["code"] == "file_not_found"
            # The same repeated request of another caller is another request.
            again = {"x-stainless-retry-count": "1"}
            assert theirs.post("/files", **body, headers=again).json()["id"] == own
            assert mine.get(f"/fine_tuning/jobs/{job}").json()["status"] == "validating_files"
    finally:
        server.stop()
        store.close()


def _of_nothing(path: str, ids: tuple[str, ...]) -> str:
    """The same path with an id that nothing has."""
    for one in ids:
        path = path.replace(one, f"{one[:-6]}000000")
    return path
