"""How a fresh network descends in a subspace: its optimizers and their learning rates."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.base.descent import Adam, Muon
from pipeline.spin.subspace.schema import SubspaceInferConfig


class Descent:
    """Adam for all parameters, or with ``matrix_lr`` orthogonal steps for the matrices among them.

    Args:
        network: what descends.
        config: learning rates, their schedule and the number of updates.
    """

    def __init__(self, network: nn.Module, config: SubspaceInferConfig) -> None:
        matrices = [p for p in network.parameters() if config.matrix_lr is not None and _is_matrix(p)]
        theirs = {id(p) for p in matrices}
        rest = [p for p in network.parameters() if id(p) not in theirs]
        self._optimizers: list[torch.optim.Optimizer] = [Adam(rest, lr=config.lr)] if rest else []
        if matrices and config.matrix_lr is not None:
            self._optimizers.append(Muon(matrices, lr=config.matrix_lr))
        self._plateaus: list[torch.optim.lr_scheduler.ReduceLROnPlateau] = []
        self._cosines: list[torch.optim.lr_scheduler.CosineAnnealingLR] = []
        for optimizer in self._optimizers:
            if config.schedule == "cosine":
                cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.iterations)
                self._cosines.append(cosine)
            else:
                plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                    optimizer, factor=config.plateau_factor, patience=config.plateau_patience, threshold=0.0
                )
                self._plateaus.append(plateau)

    def step(self, energy: float) -> None:
        """One update by the gradients of the parameters.

        Args:
            energy: before the update, which a plateau is read off.
        """
        for optimizer in self._optimizers:
            optimizer.step()
        for plateau in self._plateaus:
            plateau.step(energy)
        for cosine in self._cosines:
            cosine.step()

    @property
    def learning_rate(self) -> float:
        """Of the next update, of the first optimizer."""
        return float(self._optimizers[0].param_groups[0]["lr"])


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Whether a step can be orthogonal in more than one direction."""
    return parameter.ndim == 2 and min(parameter.shape) > 1
