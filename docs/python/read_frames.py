"""Frames that `cochlea export --to safetensors` or `--to npy` wrote, with numpy and the standard library.

    python read_frames.py FOLDER        says what is in it, as JSON
"""
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}


def read_safetensors(path):
    """{name: array}; the arrays are views of the file and cost no memory."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        name: np.memmap(path, DTYPES[tensor["dtype"]], "r", 8 + length + tensor["data_offsets"][0], tuple(tensor["shape"]))
        for name, tensor in header.items()
    }


def read_matrix(path, tensor="x"):
    return np.load(path, mmap_mode="r") if path.suffix == ".npy" else read_safetensors(path)[tensor]


def frames(folder):
    """The frames [rows, d_in] of each file, in order."""
    record = json.loads((folder / "frames.json").read_text())
    for entry in record["files"]:
        yield read_matrix(folder / entry["file"])


def clips(folder):
    """One dictionary per clip: id, path, labels, first_row, rows, first_frame."""
    with open(folder / "clips.jsonl", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def times(folder):
    """Seconds of each row in its clip."""
    rate = json.loads((folder / "frames.json").read_text())["info"]["frameRate"]
    return np.concatenate([(clip["first_frame"] + np.arange(clip["rows"])) / rate for clip in clips(folder)])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    record = json.loads((folder / "frames.json").read_text())
    hash, rows = hashlib.sha256(), 0
    for x in frames(folder):
        rows += len(x)
        hash.update(np.ascontiguousarray(x, "<f4").tobytes())
    print(json.dumps({
        "hook": record["info"]["hook"], "dtype": record["dtype"], "rows": rows, "d_in": record["info"]["dIn"], "sha256_of_float32": hash.hexdigest(),
        "clips": [[clip["id"], clip["rows"]] for clip in clips(folder)], "seconds": float(times(folder).sum()),
    }))
