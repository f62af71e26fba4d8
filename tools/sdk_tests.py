"""Fetch the tests of OpenAI's own Python client, which our server has to pass.

They are in the source distribution of the package, not in its wheel. It comes through pip, of one
version and with one checksum, and its tests are unpacked under ``.venv``, which is never committed.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "3.52.0"
SHA256 = "258a4fec3e40b412c58672526ed33f20738c2e4ea27601792e73843af62466af"
CACHE = Path(__file__).resolve().parent.parent / ".venv" / "sdk-tests"
_SECONDS = 180


class FetchError(Exception):
    """The tests could not be fetched."""


def fetch() -> Path:
    """The folder that holds ``tests/``; from the network the first time only.

    Raises:
        FetchError: pip could not get the distribution, or it is another one.
    """
    final = CACHE / f"openai-{VERSION}"
    if final.is_dir():
        return final
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        folder = Path(temporary)
        with tarfile.open(_downloaded(folder)) as archive:
            wanted = [m for m in archive if m.name.startswith(f"openai-{VERSION}/tests/")]
            archive.extractall(folder, wanted, filter="data")
        (folder / final.name).rename(final)
    return final


def _downloaded(folder: Path) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"openai=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["download", "-q", "--no-deps", "--no-binary", "openai", "--require-hashes"]
    try:
        subprocess.run(
            [*pip, *options, "-r", str(wanted), "-d", str(folder)],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise FetchError(f"pip could not fetch openai {VERSION}: {error.stderr[-800:]}") from None
    except subprocess.TimeoutExpired:
        raise FetchError(f"pip did not fetch openai {VERSION} in {_SECONDS} s") from None
    return folder / f"openai-{VERSION}.tar.gz"


def main() -> None:
    """Fetch them, and say where they are."""
    try:
        print(fetch())
    except FetchError as error:
        raise SystemExit(f"sdk tests: {error}") from None


if __name__ == "__main__":
    main()
