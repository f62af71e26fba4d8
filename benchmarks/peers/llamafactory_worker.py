"""One pass of LLaMA-Factory over the work; runs in the peer's Python, which needs llamafactory.

Arguments: started, work folder, and LLaMA-Factory settings as JSON.
"""

import json
import sys
import tempfile
from pathlib import Path

from meter import Meter

DATASET = {
    "chat": {
        "file_name": "rows.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
}


def main() -> None:
    """Train once and report."""
    meter = Meter(float(sys.argv[1]))
    work, settings = Path(sys.argv[2]), json.loads(sys.argv[3])
    from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found]

    (work / "dataset_info.json").write_text(json.dumps(DATASET), encoding="utf-8")
    with tempfile.TemporaryDirectory() as output:
        run_exp(
            {
                "model_name_or_path": str(work / "model"),
                "stage": "sft",
                "do_train": True,
                "finetuning_type": "lora",
                "lora_rank": 8,
                "lora_alpha": 16,
                "lora_target": "all",
                "dataset_dir": str(work),
                "dataset": "chat",
                "template": "chatml",
                "gradient_accumulation_steps": 1,
                "learning_rate": 1e-3,
                "num_train_epochs": 1,
                "logging_steps": 1,
                "save_strategy": "no",
                "output_dir": output,
                "overwrite_cache": True,
                "preprocessing_num_workers": 2,
                "report_to": "none",
                "use_cpu": True,
                **settings,
            },
            callbacks=[meter],
        )
    meter.report()


if __name__ == "__main__":
    main()
