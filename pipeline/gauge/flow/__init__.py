"""Gauge-equivariant flows for gauge fields: coupling layers of splines on plaquettes, and the marginal model q(U)."""
