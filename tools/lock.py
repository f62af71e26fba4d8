"""Write requirements.lock and requirements-dev.lock from the environment this runs in.

Only what the project (and its ``dev`` extra) needs is listed, found by walking the installed
packages' own requirements. torch is pinned without its local version, so that the same line gets
the CPU build or the CUDA build, whichever the machine's index offers.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Pinned by `make lock`; versions that are known to work together.\n"


def closure(extra: str) -> dict[str, str]:
    """Name → version of everything that ``tunewright[extra]`` needs here."""
    pins: dict[str, str] = {}
    waiting = [(f"tunewright[{extra}]" if extra else "tunewright")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = Requirement(waiting.pop())
        name = canonicalize_name(wanted.name)
        for marker_extra in sorted(wanted.extras) or [""]:
            for needed in (
                (distribution(name).requires or []) if (name, marker_extra) not in seen else []
            ):
                requirement = Requirement(needed)
                if requirement.marker and not requirement.marker.evaluate({"extra": marker_extra}):
                    continue
                waiting.append(str(requirement).split(";")[0].strip())
            seen.add((name, marker_extra))
        if name != "tunewright":
            pins[name] = distribution(name).version.split("+")[0]
    return pins


def write(path: Path, extra: str) -> None:
    """Write one lock file."""
    lines = [f"{name}=={version}\n" for name, version in sorted(closure(extra).items())]
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"{path.name}: {len(lines)} packages")


def main() -> None:
    """Write both locks."""
    try:
        write(ROOT / "requirements.lock", "")
        write(ROOT / "requirements-dev.lock", "dev")
    except PackageNotFoundError as error:
        raise SystemExit(f"{error} is not installed here; run `make test` first") from None


if __name__ == "__main__":
    main()
