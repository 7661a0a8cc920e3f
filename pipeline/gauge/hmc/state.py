"""What changes during a run of hybrid Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.gauge.systems import GaugeSystem

if TYPE_CHECKING:
    import torch


@dataclass
class HMCState:
    """Everything that changes during a run, for one fixed ``system``.

    Attributes:
        system: what is simulated; not part of the state dict, since ``init`` knows it.
        links: (chains, 2, L, L, ...), as the gauge group has them.
        integrator_steps: steps a trajectory; changed by warm-up only.
        violation: running estimate of sqrt(⟨ΔH⟩)/(2ε²), from which the number of steps follows.
        trajectories: done so far on each chain, warm-up included.
    """

    system: GaugeSystem
    links: torch.Tensor
    integrator_steps: int
    violation: float = 0.0
    trajectories: int = 0

    def to(self, device: str) -> None:
        """Move the links; the run goes on where they are."""
        self.links = self.links.to(device)

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that changes, complex links as real and imaginary parts; independent of the state's future."""
        import torch

        links = self.links.clone()
        return {
            "links": torch.view_as_real(links) if links.is_complex() else links,
            "integrator_steps": self.integrator_steps,
            "violation": self.violation,
            "trajectories": self.trajectories,
        }

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Restore bit for bit, on the device of the links that were there.

        Raises:
            ValueError: the links are of another lattice, group, precision or number of chains, or no elements of the
                group.
        """
        import torch

        from pipeline.gauge.group import group_of
        from pipeline.gauge.hmc.integrator import in_double

        links = tree["links"].to(self.links.device, copy=True)
        links = torch.view_as_complex(links) if self.links.is_complex() and links.shape[-1] == 2 else links
        if links.dtype != self.links.dtype:
            raise ValueError(f"links of {links.dtype} do not fit a run in {self.links.dtype}")
        if links.shape != self.links.shape:
            raise ValueError(f"links of shape {tuple(links.shape)} do not fit {tuple(self.links.shape)}")
        group = group_of(self.system)
        # Links of single precision are in the group but for their rounding, which a projection takes away.
        single = links.dtype in (torch.float32, torch.complex64)
        group.check(group.reproject(in_double(links)) if single else links)
        self.links = links
        self.integrator_steps = int(tree["integrator_steps"])
        self.violation = float(tree["violation"])
        self.trajectories = int(tree["trajectories"])
