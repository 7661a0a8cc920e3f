"""Conditional flows of pseudofermions over gauge fields: gauge-covariant linear maps that estimate the determinant.

What a method that trains them, alone or with a flow of links, needs of this room:

- ``schema``: the two nodes of its configuration, whose checks need no torch;
- ``target.pseudofermion_target`` with ``regulated=True`` for training, without for weights and observables;
- ``conditional.PseudofermionFlows``: the network, one model a monomial; called with links it gives them over
  these links, with coefficients that any number of draws share (``sample``, ``log_prob``);
- ``loss.reverse_kl``: the conditional part of Eq. B1, differentiable in links that require gradients. Score-function
  estimators take ``log_prob`` of detached fields instead;
- ``estimators``: determinants from several draws, ESS(N_pf) and its polynomial; ``spectrum``: exact values.
"""
