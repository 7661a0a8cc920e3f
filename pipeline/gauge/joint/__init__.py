"""Joint flows of gauge fields and pseudofermions: training, importance weights and reweighted observables."""
