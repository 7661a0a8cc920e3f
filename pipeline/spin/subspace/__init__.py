"""NF+NQS: a flow proposes subspaces, a network gives them amplitudes."""
