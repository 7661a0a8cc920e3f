# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # From a table to a state in hand
#
# A table of a paper has one number a cell. Behind each of ours is a trained state, which can be asked for more: its
# amplitudes, draws, correlations. We take a cell of Table I of the NF+NQS paper, train the same method on a chain that
# is small enough to know everything exactly, and look inside.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import nqs

SCALE = os.environ.get("NOTEBOOK_SCALE", "laptop")  # smoke: seconds, and the numbers mean nothing

# %% [markdown]
# ## The table
#
# `make reproduce-table1` wrote it, with every number beside the printed one and a reference; it lies in a checkout, not
# in a wheel. These are relative errors of the energy, by system and method; `annealed-ar` is an autoregressive network
# that follows a field which is lowered in steps.

# %%
folder = Path(nqs.__file__).parents[1] / "results" / "nf_nqs" / "table1" / "laptop"
cells = pd.read_csv(folder / "cells.csv")
energies = cells[cells.quantity == "energy"]
methods = ["nqs+nf", "mps", "dense-ar", "cnn-ar", "annealed-ar"]
energies.pivot(index="cell", columns="method", values="rel_error_ours")[methods].map("{:+.1e}".format)

# %% [markdown]
# ## The same method on a chain of our own
#
# The recipe of a column is `paper=<paper>/<name>`, its settings at a scale come with it; the system is ours: twelve
# spins with nearest neighbours at the critical field. What the store has already is not computed again.

# %%
run = nqs.run(
    "paper=nf_nqs/annealed", f"scale={SCALE}", "system.n_sites=12", "system.range=1", tracker="none", progress=False
)
run

# %%
run.energy.mean, run.energy.error, run.reference.mean

# %% [markdown]
# The figure has the steps on the chain itself; those before had a stronger field.

# %%
_ = run.plot()
# %% [markdown]
# ## The state
#
# `run.state`, or from any other notebook `nqs.load(key)`. Spins are ±1. Twelve of them have 4096 configurations: enough
# to write down the whole state.

# %%
state = nqs.load(run.key)
state

# %%
n = state.n_sites
spins = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
log_psi = state.log_psi(spins)
weights = np.exp(2 * log_psi.real)
weights.sum()  # an autoregressive state is normalised

# %%
heaviest = np.argsort(-weights)[:6]
pd.DataFrame(
    {
        "configuration": ["".join("+" if s > 0 else "-" for s in spins[i]) for i in heaviest],
        "|psi|^2": weights[heaviest],
    }
)

# %% [markdown]
# ## Draws, and what they say
#
# Draws are independent here; of chains, errors count their autocorrelation. The magnetisation of 2000 draws beside the
# sum over all configurations:

# %%
draws = state.sample(2000, seed=1)
values = np.arange(-n, n + 1, 2)
drawn = [(draws.sum(1) == value).mean() for value in values]
exact = [weights[spins.sum(1) == value].sum() for value in values]

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.bar(values, drawn, width=1.6, alpha=0.5, label="2000 draws")
axes.plot(values, exact, "ko", ms=4, label="all configurations")
axes.set_xlabel("magnetisation")
axes.set_ylabel("probability")
_ = axes.legend(frameon=False)
# %% [markdown]
# ## Correlations with errors
#
# Any sum of Pauli strings has an expectation value, with a standard error.

# %%
correlations = [state.expectation(f"Z0 Z{r}", samples=4000, seed=r) for r in range(1, n // 2 + 1)]
field = state.expectation({f"X{i}": 1 / n for i in range(n)}, samples=4000)

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
distances = np.arange(1, len(correlations) + 1)
axes.errorbar(distances, [c.mean for c in correlations], [c.error for c in correlations], fmt="o", ms=4)
axes.set_xlabel("distance r")
axes.set_ylabel(r"$\langle \sigma^z_0 \sigma^z_r \rangle$")
print("neighbours", correlations[0], " field", field)

# %% [markdown]
# By Kramers-Wannier duality both are equal in the ground state at the critical point, half of the energy a site. How
# far the state is from that is a check that no energy gives:

# %%
-run.reference.mean / (2 * n)

# %% [markdown]
# ## What was computed so far
#
# Of this folder, those above it, and the checkout; the command of each computes it again.

# %%
table = nqs.runs()
table[["system", "size", "method", "ansatz", "energy", "sigma", "relative_error", "key"]].head()

# %%
table.command[0]
