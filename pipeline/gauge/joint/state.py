"""What changes during the training of a joint flow."""

from __future__ import annotations

from typing import Any

import torch

from pipeline.gauge.joint.model import JointFlow


class JointFlowState:
    """Parameters, moments of the optimizer, and updates that were skipped.

    Attributes:
        seed: of the training.
        flow: the model.
        optimizer: of all its parameters.
        skipped: updates without a step, in all.
        skipped_in_a_row: of them, the latest ones without a step in between.
    """

    def __init__(self, seed: int, flow: JointFlow, optimizer: torch.optim.Optimizer) -> None:
        self.seed, self.flow, self.optimizer = seed, flow, optimizer
        self.skipped = self.skipped_in_a_row = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "flow": self.flow.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        self.flow.load_state_dict(tree["flow"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.skipped, self.skipped_in_a_row = tree["skipped"], tree["skipped_in_a_row"]
