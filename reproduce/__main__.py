"""``python -m reproduce table1 --scale laptop [--plan] [--jobs 2] [--only CELL] [overrides]``."""

from __future__ import annotations

import sys

from reproduce.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
