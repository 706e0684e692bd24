#!/bin/sh
# torch.argmax on a CPU takes two to five times as long as torch.max, which returns the same places and the values too.
#
# Input: logits of 64 rows over a vocabulary of 50,257, float32 and bfloat16, contiguous; one thread. Greedy decoding
# asks for the place alone, and a good engineer would expect `argmax(-1)` to be at most as expensive as `max(-1)`, which
# returns places and values. torch 2.13.0 needs two to five times as long for it, whether its kernels are those for
# AVX-512, AVX2 or none (ATEN_CPU_CAPABILITY), although both return the first of equal values. numpy's argmax of the same
# float32 matrix takes a third of `max` and less. So `logits.max(-1).indices` is what to write on a CPU.
#
# Exits with 0 while argmax takes more than 1.5 times as long, and returns the same. Seen, beside other work:
#   default  torch.float32: argmax 8.56 ms, max 3.73 ms: 2.3; numpy 0.47 ms
#   default  torch.bfloat16: argmax 12.44 ms, max 4.21 ms: 3.0; numpy 2.43 ms
#   avx2     torch.float32: argmax 8.18 ms, max 2.99 ms: 2.7; numpy 0.52 ms
#   avx2     torch.bfloat16: argmax 11.95 ms, max 2.65 ms: 4.5; numpy 2.33 ms
#   avx512   torch.float32: argmax 4.88 ms, max 1.55 ms: 3.1; numpy 0.48 ms
#   avx512   torch.bfloat16: argmax 12.63 ms, max 2.77 ms: 4.6; numpy 2.09 ms
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
for kernels in default avx2 avx512; do
    ATEN_CPU_CAPABILITY=$kernels "$folder/venv/bin/python" - "$kernels" <<'PYTHON'
import sys
import time

import numpy
import torch


def milliseconds(function):
    function()
    seconds = []
    for _ in range(15):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    return 1e3 * min(seconds)


torch.set_num_threads(1)
torch.manual_seed(0)
same = True
print(f"torch {torch.__version__}, numpy {numpy.__version__}, kernels: {torch.backends.cpu.get_cpu_capability()}")
for dtype in (torch.float32, torch.bfloat16):
    logits = torch.randn(64, 50_257).to(dtype)
    one = milliseconds(lambda: logits.argmax(-1))
    both = milliseconds(lambda: logits.max(-1))
    other = milliseconds(lambda: logits.float().numpy().argmax(-1))
    print(f"{sys.argv[1]:<8} {dtype}: argmax {one:.2f} ms, max {both:.2f} ms: {one / both:.1f}; numpy {other:.2f} ms")
    equal = torch.equal(logits.argmax(-1), logits.max(-1).indices)
    same = same and equal and one > 1.5 * both
sys.exit(0 if same else "the behaviour has changed")
PYTHON
done
