"""Frames at any module, by NNsight: python nnsight_frames.py facebook/hubert-base-ls960 OUT.safetensors a.wav b.wav ... (sound of 16 kHz)"""
import sys

import soundfile
import torch
from nnsight import NNsight
from transformers import AutoModel

from write_frames import write_frames

name, out, *sounds = sys.argv[1:]
model = NNsight(AutoModel.from_pretrained(name).eval())
recordings = []
for sound in sounds:
    samples, _ = soundfile.read(sound, dtype="float32")
    with torch.no_grad(), model.trace(torch.from_numpy(samples)[None]):
        frames = model.encoder.layers[5].feed_forward.output.save()
    recordings.append(frames[0].numpy())
write_frames(out, recordings, 50, model=name, hook="encoder.layers.5.feed_forward")
