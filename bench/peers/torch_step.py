"""Training steps of a dense TopK SAE by torch on CUDA, in float32: rows a second with TF32 off and on, as JSON on the last line of stdout.

The mathematics of cochlea's architecture topk without dead latents: pre = (x - b_dec) W_enc + b_enc, the k largest of pre * |W_dec| kept through a relu,
out = f W_dec + b_dec with a dense f, loss = mean_b |out - x|^2, gradients scaled to a norm of at most 1, Adam on all parameters.

    python3 bench/peers/torch_step.py '[{"dIn": 768, "dSae": 24576, "k": 32, "batch": 4096}]'
"""
import json
import statistics
import sys
import time

import torch

WARM_UP, RUNS, STEPS = 5, 5, 10


def rows_per_second(d_in, d_sae, k, batch, tf32):
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.manual_seed(1)
    on = {"device": "cuda", "dtype": torch.float32}
    x = torch.rand(batch, d_in, **on) * 2 - 1
    w_dec = torch.nn.functional.normalize(torch.rand(d_sae, d_in, **on) * 2 - 1, dim=1) * 0.1
    w_enc = torch.nn.Parameter(w_dec.T.contiguous())
    w_dec = torch.nn.Parameter(w_dec)
    b_enc = torch.nn.Parameter(torch.zeros(d_sae, **on))
    b_dec = torch.nn.Parameter(torch.zeros(d_in, **on))
    parameters = [w_enc, b_enc, w_dec, b_dec]
    adam = torch.optim.Adam(parameters, lr=3e-4, fused=True)

    def step():
        pre = (x - b_dec) @ w_enc + b_enc
        kept = (pre.detach() * w_dec.detach().norm(dim=1)).topk(k, dim=1, sorted=False).indices
        f = torch.zeros_like(pre).scatter(1, kept, pre.gather(1, kept).relu())
        loss = (f @ w_dec + b_dec - x).square().sum() / batch
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        return loss

    first = step().item()
    for _ in range(WARM_UP):
        last = step()
    seconds = []
    for _ in range(RUNS):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(STEPS):
            last = step()
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - began) / STEPS)
    last = last.item()
    if not last < first:
        raise SystemExit(f"the loss went from {first} to {last}")
    return {
        "rowsPerSecond": batch / statistics.median(seconds), "secondsPerStep": {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)},
        "losses": [first, last],
    }


def main():
    if not torch.cuda.is_available():
        raise SystemExit("torch has no CUDA device")
    steps = [
        {**size, **{name: rows_per_second(size["dIn"], size["dSae"], size["k"], size["batch"], tf32) for name, tf32 in (("float32", False), ("tf32", True))}}
        for size in json.loads(sys.argv[1])
    ]
    print(json.dumps({"version": torch.__version__, "device": torch.cuda.get_device_name(0), "step": steps}))


if __name__ == "__main__":
    main()
