"""What a rank does in ``test_ranks.py``; run as a module, it ends well if all collectives agree with what is known."""

from __future__ import annotations

import torch

from pipeline.base.run import ranks as r

ranks = r.Processes("cpu")
n = ranks.rank
tree = ranks.broadcast({"a": [torch.arange(3), None], "b": 2.5} if n == 0 else None)
assert tree["b"] == 2.5
assert tree["a"][0].tolist() == [0, 1, 2]
for dtype in (torch.float64, torch.float32, torch.int8, torch.int64, torch.bool, torch.complex128):
    everything = torch.arange(7 * 2).reshape(7, 2).to(dtype)
    mine = everything[r.share(ranks, 7)]
    found = ranks.gather(mine)
    assert found.dtype == dtype
    assert torch.equal(found, everything), dtype
uneven = torch.cat([torch.full((k,), float(k)) for k in range(ranks.size)])
assert torch.equal(ranks.gather(torch.full((n, 1), float(n)))[:, 0], uneven)
value = torch.tensor([0.1 * (n + 1), 1.0], dtype=torch.float64)
total = torch.tensor([0.1 * ranks.size * (ranks.size + 1) / 2, float(ranks.size)], dtype=torch.float64)
assert torch.allclose(ranks.reduce(value), total)
assert value[0] == 0.1 * (n + 1)
assert ranks.reduce(torch.tensor([1j * n])).item() == 1j * sum(range(ranks.size))
back = ranks.all_to_all([torch.tensor([10 * n + j, -1]) for j in range(ranks.size)])
assert [int(piece[0]) for piece in back] == [10 * i + n for i in range(ranks.size)]
assert ranks.agree(1 << n) == 2**ranks.size - 1
assert ranks.agree(0) == 0
ranks.barrier()
r.close()
