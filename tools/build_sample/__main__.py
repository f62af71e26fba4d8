"""`python -m tools.build_sample [--out FOLDER] [--encoding gb18030|utf-8] [--check]`."""

import argparse
import sys
from pathlib import Path

from tools.build_sample.build import build
from tools.build_sample.checks import SampleError

SHIPPED = Path(__file__).parents[2] / "src/tunewright/samples/legal_assistant"


def main() -> int:
    """Write the files, or compare them; 1 if they differ or a rule is broken."""
    parser = argparse.ArgumentParser(prog="python -m tools.build_sample", description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder to write to")
    parser.add_argument("--encoding", choices=("gb18030", "utf-8"), default="gb18030")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args()
    try:
        files = build(options.encoding)
    except SampleError as error:
        print(error, file=sys.stderr)
        return 1
    if options.check:
        changed = [name for name in files if (options.out / name).read_bytes() != files[name]]
        for name in changed:
            print(f"{name} differs from a fresh build; run the builder again", file=sys.stderr)
        return 1 if changed else 0
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (options.out / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
