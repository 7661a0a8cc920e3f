"""Abbott et al., gauge-equivariant flow models for sampling with pseudofermions: artefacts."""
