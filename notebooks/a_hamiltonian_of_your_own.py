# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # A Hamiltonian, an ansatz and a table of your own
#
# None of the three comes with the project: a Hamiltonian of Pauli strings, a wave function that is written in the
# notebook, and a table of energies beside exact ones, over a swept coupling.

# %%
import os

import matplotlib.pyplot as plt
import torch

import nqs

STEPS = int(os.environ.get("NOTEBOOK_STEPS", "300"))  # 2: seconds, and the numbers mean nothing

# %% [markdown]
# ## A Hamiltonian
#
# The cluster model in a field on a ring, $H = -\sum_i \sigma^z_{i-1} \sigma^x_i \sigma^z_{i+1} - h \sum_i \sigma^x_i$:
# strings of three matrices, which no system of the project has.

# %%
N = 8


def cluster(h):
    """The cluster model on a ring of N sites, in a field h."""
    strings = {f"Z{(i - 1) % N} X{i} Z{(i + 1) % N}": -1.0 for i in range(N)}
    return nqs.hamiltonian(strings | {f"X{i}": -h for i in range(N)})


cluster(0.5).strings[:4]

# %% [markdown]
# A slip is one line:

# %%
for strings in ({"Z0 Y1": 1.0}, {"Z0 Z0": 1.0}, ["Z0 Q1"]):
    try:
        nqs.hamiltonian(strings)
    except nqs.UserError as error:
        print(error)

# %% [markdown]
# ## An ansatz
#
# A class that gives log ψ of a batch of spins. Settings are arguments of the decorator, and keys of the configuration:
# `train.ansatz.width`. This one is a network on windows of neighbouring spins, the same for every site of the ring.


# %%
@nqs.ansatz("ring_network", window=4, width=12, deviation=0.3)
class RingNetwork(nqs.WaveFunction):
    """log ψ(s) = Σ_i f(s_i, ..., s_{i+w-1}), f a network with one hidden layer and a complex output."""

    def __init__(self, config, system):
        super().__init__()
        self.window = config.window
        self.hidden = torch.nn.Linear(config.window, config.width)
        self.out = torch.nn.Linear(config.width, 2)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=config.deviation)

    def log_amplitude(self, spins):
        """log ψ, complex: the second output is the phase."""
        s = spins.to(self.hidden.weight.dtype)
        windows = torch.stack([s.roll(-k, 1) for k in range(self.window)], dim=-1)
        values = self.out(torch.tanh(self.hidden(windows))).sum(1)
        return torch.complex(values[:, 0], values[:, 1])


# %% [markdown]
# ## A table
#
# Three fields, two ansätze, sums over all configurations and QuSpin beside them. A run that is there is not computed
# again: interrupt this cell and go on, or add a field.

# %%
settings = dict(method="vmc", optimizer="sr", train__steps=STEPS, tracker="none", progress=False)
ansaetze = {
    "rbm": dict(ansatz="rbm", train__ansatz__parameters="complex", train__ansatz__alpha=1),
    "ring_network": dict(ansatz="ring_network"),
}
fields = (0.25, 1.0, 2.0)
runs = {(h, name): nqs.run(system=cluster(h), **settings, **ansaetze[name]) for h in fields for name in ansaetze}

# %%
table = nqs.runs()
table = table[table.key.isin([run.key for run in runs.values()])].copy()
table["h"] = [-float(strings[0].split()[0]) for strings in table.terms]  # -h X0 is the first string
table.pivot_table(index="h", columns="ansatz", values=["energy", "reference", "relative_error"]).round(6)

# %% [markdown]
# The model is dual to itself (controlled-Z gates on all bonds exchange its two terms), so that at h = 1 the string of
# three and the field have the same expectation value in the ground state. Energies say nothing of it; states do.

# %%
for name in ansaetze:
    state = runs[1.0, name].state
    print(f"{name:14} <ZXZ> = {state.expectation('Z0 X1 Z2')}   <X> = {state.expectation('X1')}")

# %%
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
_ = nqs.plot(*(runs[1.0, name] for name in ansaetze), axes=axes, relative=True)
# %% [markdown]
# The same run from a terminal, for whatever is no part of this notebook:

# %%
print(table[table.ansatz == "rbm"].command.iloc[0])
