"""A run of cochlea in Weights & Biases, under the names that SAELens logs: python wandb_log.py RUN PROJECT"""
import json
import sys
from pathlib import Path

import wandb

run = Path(sys.argv[1])
settings = json.loads((run / "run.json").read_text())
with wandb.init(project=sys.argv[2], name=run.name, config=settings) as log:
    for line in open(run / "metrics.jsonl"):
        values = json.loads(line)
        step = values.pop("step")
        values["details/n_training_samples"] = step * settings["training"]["train_batch_size_samples"]
        log.log({name: value for name, value in values.items() if value is not None}, step=step)
