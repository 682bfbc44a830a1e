"""An SAE that cochlea trained, in SAELens: python saelens_load.py RUN FRAMES_FOLDER (of `cochlea export --to safetensors`)"""
import sys
from pathlib import Path

import torch
from sae_lens import SAE

from read_frames import frames

sae = SAE.load_from_disk(sys.argv[1])
x = torch.from_numpy(next(frames(Path(sys.argv[2])))[:4096].astype("float32"))
with torch.no_grad():
    acts = sae.encode(x)
    recon = sae.decode(acts)
print(sae.cfg.architecture(), sae.cfg.d_in, sae.cfg.d_sae)
print("L0", (acts != 0).sum(1).float().mean().item())
print("explained variance", 1 - ((x - recon) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item())
