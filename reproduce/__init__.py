"""The papers: tables and figures as cells and a renderer each. Knows no physics.

A paper is a folder with ``published.csv`` and one module for each artefact (see :mod:`reproduce.artefact`).
"""
