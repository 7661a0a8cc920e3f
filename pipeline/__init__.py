"""The machine: stages, store, physics, analysis. Knows no paper.

Floors, top to bottom: ``stages`` > ``analysis`` > ``spin`` | ``gauge`` > ``base``.
A file imports only from its own floor and from floors below it.
"""
