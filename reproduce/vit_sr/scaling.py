"""A model of a step of reconfiguration on several processors: counted operations, bytes held, and bytes exchanged.

What the ranks share is divided by their number K; what the first one solves for all of them is not; what they exchange
is added. Nothing of it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

DOUBLE = 8
"""Bytes of a number in double precision, in which the matrix of log-derivatives is held and multiplied."""

PARTS = 2
"""log ψ is complex: a real and an imaginary row for each sample."""


@dataclass(frozen=True)
class Sizes:
    """What a step of the deep ViT consists of.

    Attributes:
        sites: N.
        samples: M.
        patch, depth, width, heads: b, n_l, d and h.
        images: configurations that a projected amplitude is a sum over (Eq. 12).
        proposals: Metropolis proposals for each sample.
    """

    sites: int
    samples: int
    patch: int
    depth: int
    width: int
    heads: int
    images: int
    proposals: int

    @property
    def tokens(self) -> int:
        """Patches of the lattice."""
        return self.sites // self.patch**2

    @property
    def rows(self) -> int:
        """R of XᵀX."""
        return PARTS * self.samples

    @property
    def parameters(self) -> int:
        """P: embedding, blocks, norms of the output and the complex last layer."""
        d = self.width
        block = 2 * (d * d + d) + self.tokens * self.heads + 4 * d * d + 3 * d + 4 * d
        return d * (self.patch**2 + 1) + self.depth * block + 6 * d + 2 * (d * d + d)

    @property
    def amplitude(self) -> float:
        """Floating-point operations of one amplitude, products of matrices alone (two for a multiplication and sum)."""
        d = self.width
        token = 2 * d * self.patch**2 + self.depth * (12 * d * d + 2 * self.tokens * d)
        return float(self.images * (self.tokens * token + 2 * PARTS * d * d))

    @property
    def connected(self) -> float:
        """Configurations that H connects with one of Σσz = 0, and that one: of 4N bonds those between unlike spins."""
        return 4 * self.sites * 0.5 * self.sites / (self.sites - 1) + 1


@dataclass(frozen=True)
class Machine:
    """A processor for each rank.

    Attributes:
        rate: floating-point operations a second, of networks.
        rate_double: of products and factorisations of matrices in double precision.
        bandwidth: bytes a second that a rank sends, and that it receives meanwhile.
    """

    rate: float
    rate_double: float
    bandwidth: float


@dataclass(frozen=True)
class Seconds:
    """Of a step, by part."""

    sampling: float
    local_energies: float
    derivatives: float
    gram: float
    solve: float
    exchange: float

    @property
    def step(self) -> float:
        return sum(vars(self).values())


def transposition(sizes: Sizes, ranks: int) -> float:
    """Bytes of log-derivatives that a rank sends: of its R P/K numbers all but those whose columns are its own."""
    return DOUBLE * sizes.rows * sizes.parameters / ranks * (ranks - 1) / ranks


def exchanged(sizes: Sizes, ranks: int) -> float:
    """Bytes that a rank sends in a step: the transposition, and the sums of half of XᵀX and of the step (rings)."""
    summed = DOUBLE * (sizes.rows**2 / 2 + sizes.parameters)
    return transposition(sizes, ranks) + 2 * (ranks - 1) / ranks * summed


def held(sizes: Sizes, ranks: int) -> float:
    """Bytes that a rank holds: its share of X, and XᵀX."""
    return DOUBLE * (sizes.rows * sizes.parameters / ranks + sizes.rows**2)


def seconds(sizes: Sizes, ranks: int, machine: Machine) -> Seconds:
    """The time of a step: counted operations at the rates of the machine."""
    share = sizes.samples / ranks
    amplitude = sizes.amplitude / machine.rate
    return Seconds(
        sampling=share * sizes.proposals * amplitude,
        local_energies=share * sizes.connected * amplitude,
        # forward, and for each part of log ψ a backward pass that costs two
        derivatives=share * (1 + 2 * PARTS) * amplitude,
        gram=sizes.rows**2 * sizes.parameters / ranks / machine.rate_double,
        solve=sizes.rows**3 / 3 / machine.rate_double,
        exchange=exchanged(sizes, ranks) / machine.bandwidth,
    )


def apart(measured: float, solve: float, ranks: int) -> float:
    """Seconds of a step that one rank was measured to take, were there a processor for each of several; no exchange."""
    return (measured - solve) / ranks + solve
