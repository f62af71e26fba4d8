"""One pass of ms-swift over the work; runs in the peer's Python, which needs ms-swift.

Arguments: started, work folder, and ms-swift settings as JSON.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from meter import Meter


def main() -> None:
    """Train once and report."""
    meter = Meter(float(sys.argv[1]))
    work, settings = Path(sys.argv[2]), json.loads(sys.argv[3])
    from swift.arguments import SftArguments  # type: ignore[import-not-found]
    from swift.callbacks import callbacks_map  # type: ignore[import-not-found]
    from swift.pipelines import sft_main  # type: ignore[import-not-found]

    def metered(*_: Any) -> Meter:
        return meter

    callbacks_map["meter"] = metered
    with tempfile.TemporaryDirectory() as output:
        sft_main(
            SftArguments(
                model=str(work / "model"),
                model_type="qwen3",
                template="chatml",
                dataset=[str(work / "rows.jsonl")],
                tuner_type="lora",
                lora_rank=8,
                lora_alpha=16,
                target_modules=["all-linear"],
                split_dataset_ratio=0.0,
                gradient_accumulation_steps=1,
                learning_rate=1e-3,
                num_train_epochs=1,
                logging_steps=1,
                save_strategy="no",
                output_dir=output,
                report_to="none",
                use_cpu=True,
                callbacks=["meter"],
                check_model=False,
                **settings,
            )
        )
    meter.report()


if __name__ == "__main__":
    main()
