"""``python -m benchmarks.scaling``: time and memory of fermion forces against the lattice size, from the tables."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.plotting import PAGE, new_figure, save_figure

GROUPS = {"forces_u1": ("U(1)", "o-"), "forces_su3": ("SU(3)", "s--")}
UNITS = {"seconds": (1e3, "ms a configuration (CPU)"), "bytes": (2.0**-20, "MiB a configuration (peak)")}

RESOLUTION = 2**20
"""Peaks below it are mostly what the allocator happens to hold, and are not shown."""

Points = dict[str, dict[int, dict[str, float]]]


def read(path: Path) -> Points:
    """Seconds and bytes a configuration, by method and L, from the table of a case; failed rows are left out."""
    points: Points = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["status"] == "ok":
                method, size = row["contender"].rsplit(", ", 1)
                count = round(float(row["configurations_a_second"]) * float(row["warm_wall_s"]))
                peak = float(row["peak_bytes"])
                numbers = {"seconds": float(row["warm_cpu_s"]) / count}
                numbers["bytes"] = peak / count if peak >= RESOLUTION else math.nan
                points.setdefault(method, {})[int(size.split("×")[0])] = numbers
    return points


def draw(directory: Path) -> list[Path]:
    """``forces.svg`` and ``.png`` from the tables ``forces_*.csv`` that are in ``directory``."""
    figure, axes = new_figure(PAGE, 3.2, columns=2)
    for name, (group, style) in GROUPS.items():
        path = directory / f"{name}.csv"
        points = read(path) if path.exists() else {}
        for number, (method, curve) in enumerate(points.items()):
            for panel, (quantity, (unit, _)) in zip(axes, UNITS.items(), strict=True):
                values = [unit * curve[length][quantity] for length in curve]
                panel.plot(list(curve), values, style, color=f"C{number}", label=f"{group}, {method}", markersize=4)
    for panel, (_, label) in zip(axes, UNITS.values(), strict=True):
        panel.set(xscale="log", yscale="log", xlabel="L", ylabel=label)
        panel.minorticks_off()
        panel.set_xticks([4, 8, 16, 32], ["4", "8", "16", "32"])
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside right center")
    return save_figure(figure, directory / "forces")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and say where."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"), help="where the tables are")
    for path in draw(parser.parse_args(arguments).out):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
