"""Frames from Python for cochlea: one .safetensors file, with numpy and the standard library.

    python write_frames.py OUT.safetensors        writes an example
"""
import json
import sys

import numpy as np


def write_frames(path, recordings, frame_rate, model="", hook="", first=0):
    """recordings: arrays [frames, d_in], without padding, one after the other; they are numbered from `first` on. A folder of such files is
    one stream, in the order of their names: write a file per hundred recordings or so, and none has to be held whole."""
    rows = [len(frames) for frames in recordings]
    tensors = {
        "clip": np.repeat(np.arange(first, first + len(rows), dtype="<i8"), rows),
        "time": np.concatenate([np.arange(n) for n in rows]).astype("<f4") / np.float32(frame_rate),
        "x": np.concatenate([np.asarray(frames, "<f4") for frames in recordings]),
    }
    header, at = {"__metadata__": {"frame_rate": str(frame_rate), "model": model, "hook": hook}}, 0
    for name, tensor in tensors.items():
        dtype = {"<i8": "I64", "<f4": "F32"}[tensor.dtype.str]
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


if __name__ == "__main__":
    dimension = np.arange(4) / 4
    write_frames(sys.argv[1], [100 * n + np.arange(count)[:, None] + dimension for n, count in enumerate([5, 1, 7])], 50, hook="example")
