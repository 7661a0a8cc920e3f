"""AdamW against its update written out by hand."""

from __future__ import annotations

import torch

from pipeline.base.descent import AdamW


def test_adamw_is_adam_with_decoupled_decay() -> None:
    lr, betas, eps, decay = 0.1, (0.9, 0.99), 0.02, 0.3
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = AdamW([parameter], lr=lr, betas=betas, eps=eps, weight_decay=decay)
    theta, first, second = parameter.detach().clone(), torch.zeros(3), torch.zeros(3)
    for k in range(1, 4):
        optimizer.zero_grad()
        (parameter**4 + parameter).sum().backward()
        optimizer.step()
        slope = 4 * theta**3 + 1
        first = betas[0] * first + (1 - betas[0]) * slope
        second = betas[1] * second + (1 - betas[1]) * slope**2
        scale = (second / (1 - betas[1] ** k)).sqrt() + eps
        theta = theta - lr * (first / (1 - betas[0] ** k) / scale + decay * theta)
        torch.testing.assert_close(parameter.detach(), theta, rtol=1e-12, atol=0.0)
