"""What ``pyproject.toml`` cannot say: a wheel also holds the configuration and the committed references.

They lie beside the packages in a checkout and below ``pipeline/data`` in a wheel, where
:mod:`pipeline.base.places` finds them. Trained states (7 MB and growing) stay in the repository.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = ("conf", "results/references")


class BuildWithData(build_py):
    """Copies :data:`DATA` into the package; an editable installation reads them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "pipeline" / "data"
        shutil.rmtree(target, ignore_errors=True)
        for name in DATA:
            shutil.copytree(name, target / name)


setup(cmdclass={"build_py": BuildWithData})
