"""SAELens trains on frames of cochlea: python saelens_train.py DATASET OUT (DATASET of `cochlea export --to datasets`, without --pad)

Through SAETrainer, SAELens' core that needs no model: its runner wants a language model and a dataset of text."""
import json
import sys
from pathlib import Path

import torch
from datasets import load_from_disk
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.training.mixing_buffer import mixing_buffer
from sae_lens.training.sae_trainer import SAETrainer

hook = json.loads((Path(sys.argv[1]) / "frames.json").read_text())["info"]["hook"]
dataset = load_from_disk(sys.argv[1]).with_format("torch", columns=[hook])
context, d_in = dataset.features[hook].shape
batch, steps = 4096, 5000


def rows(at_once=max(1, 8192 // context)):
    while True:  # epoch after epoch
        for first in range(0, len(dataset), at_once):
            yield dataset[first:first + at_once][hook].reshape(-1, d_in).float()


sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=d_in, d_sae=8 * d_in, k=32))
trainer = SAETrainer(
    cfg=SAETrainerConfig(
        n_checkpoints=0, checkpoint_path=None, save_final_checkpoint=False, total_training_samples=batch * steps, device="cpu", autocast=False,
        lr=3e-4, lr_end=3e-5, lr_scheduler_name="constant", lr_warm_up_steps=500, adam_beta1=0.9, adam_beta2=0.999, lr_decay_steps=1000,
        n_restart_cycles=1, train_batch_size_samples=batch, dead_feature_window=1000, feature_sampling_window=2000, logger=LoggingConfig(log_to_wandb=False),
    ),
    sae=sae,
    data_provider=mixing_buffer(65536, batch, rows()),
)
trainer.fit()
sae.save_inference_model(sys.argv[2])
