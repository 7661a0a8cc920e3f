"""Abbott et al., gauge-equivariant flow models for sampling with pseudofermions: artefacts."""

TITLE = "Gauge-equivariant flow models for sampling in lattice field theories with pseudofermions"
AUTHORS = "R. Abbott et al."
WHERE = "Phys. Rev. D 106, 074506 (2022)"
