"""Frames of a Hugging Face encoder for cochlea: python hf_frames.py openai/whisper-tiny 2 OUT.safetensors a.wav b.wav ... (sound of 16 kHz)"""
import sys

import soundfile
import torch
from transformers import AutoFeatureExtractor, AutoModel

from write_frames import write_frames

name, layer, out, *sounds = sys.argv[1:]
extractor, model = AutoFeatureExtractor.from_pretrained(name), AutoModel.from_pretrained(name).eval()
encoder = model.get_encoder() if model.config.is_encoder_decoder else model
rate, recordings = 50, []  # frames per second of Whisper, HuBERT, WavLM and wav2vec 2.0
for sound in sounds:
    samples, sampling_rate = soundfile.read(sound, dtype="float32")
    features = extractor(samples, sampling_rate=sampling_rate, return_tensors="pt")
    with torch.no_grad():
        states = encoder(**features, output_hidden_states=True).hidden_states[int(layer)][0]
    # Whisper pads to 30 seconds: padding is nothing to learn from.
    recordings.append(states[:max(1, int(len(samples) / sampling_rate * rate))].numpy())
write_frames(out, recordings, rate, model=name, hook=f"encoder.layers.{int(layer) - 1}")
