"""One pass of TRL's SFTTrainer over the work; runs in the peer's Python, which needs trl and peft.

Arguments: started, work folder, and TRL settings as JSON.
"""

import json
import sys
import tempfile
from pathlib import Path

from meter import Meter


def main() -> None:
    """Train once and report."""
    meter = Meter(float(sys.argv[1]))
    work, settings = Path(sys.argv[2]), json.loads(sys.argv[3])
    from datasets import load_dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    dtype = settings.pop("dtype", None)
    if dtype:
        settings["model_init_kwargs"] = {"dtype": dtype}
    with tempfile.TemporaryDirectory() as output:
        config = SFTConfig(
            output_dir=output,
            num_train_epochs=1,
            learning_rate=1e-3,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            assistant_only_loss=True,
            use_cpu=True,
            disable_tqdm=True,
            **settings,
        )
        trainer = SFTTrainer(
            model=str(work / "model"),
            args=config,
            train_dataset=load_dataset("json", data_files=str(work / "rows.jsonl"), split="train"),
            peft_config=LoraConfig(
                r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            callbacks=[meter],
        )
        trainer.train()
    meter.report()


if __name__ == "__main__":
    main()
