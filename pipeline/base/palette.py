"""Colours of every figure: told apart with any colour vision, on paper and on a screen, and no red beside a green.

Blue, orange and sky are those of M. Okabe and K. Ito, indigo and wine those of P. Tol; what else there is keeps
its distance from them as people without red or green cones see it (tests/base/test_palette.py).
"""

from __future__ import annotations

BLUE = "#0072B2"
ORANGE = "#E69F00"
WINE = "#882255"
SKY = "#56B4E9"
RUST = "#B5400A"
INDIGO = "#332288"
PINK = "#EE99AA"
BLACK = "#1A1A1A"
GREY = "#8C8C8C"
VIOLET = "#8855FF"
SAND = "#BBAA66"

CYCLE = (BLUE, ORANGE, WINE, SKY, RUST, INDIGO, PINK, BLACK)
"""What matplotlib calls C0, C1, ...: for curves that stand for no method."""
