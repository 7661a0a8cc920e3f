"""Pages as a headless Chromium lays them out: how wide they come out, which images are missing, in which colours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 60
LOOK = """
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const style = frame.contentWindow.getComputedStyle(page.body);
    const right = e => e.getBoundingClientRect().right, inside = e => e.closest(".wide, pre") !== null;
    return {
      name: frame.dataset.name, width: frame.clientWidth, needed: root.scrollWidth,
      wide: [...page.body.querySelectorAll("*")].filter(e => right(e) > root.clientWidth + 1 && !inside(e))
        .map(e => e.tagName.toLowerCase()).slice(0, 5),
      images: page.images.length,
      missing: [...page.images].filter(i => !(i.complete && i.naturalWidth > 0)).map(i => i.getAttribute("src")),
      ground: style.backgroundColor, text: style.color,
    };
  });
  const pre = document.createElement("pre");
  pre.id = "seen"; pre.textContent = JSON.stringify(seen); document.body.replaceChildren(pre);
});
"""


@dataclass(frozen=True)
class Seen:
    """A page at one width.

    Attributes:
        needed: pixels that it takes; more than ``width`` scrolls sideways.
        wide: elements that reach over the edge.
        missing: addresses of images that did not load.
        ground, text: colours as ``rgb(r, g, b)``.
    """

    name: str
    width: int
    needed: int
    wide: tuple[str, ...]
    images: int
    missing: tuple[str, ...]
    ground: str
    text: str

    @property
    def faults(self) -> list[str]:
        """What a reader would complain about."""
        found = [f"{self.name} at {self.width} px: {src} does not load" for src in self.missing]
        if self.needed > self.width:
            found.append(f"{self.name} is {self.needed} px wide at {self.width} px ({', '.join(self.wide)})")
        return found


def chromium() -> str | None:
    """The browser, where there is one."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


def look(browser: str, pages: Mapping[str, Path], widths: Sequence[int], dark: bool = False) -> list[Seen]:
    """Every page at every width, in one start of the browser.

    Raises:
        RuntimeError: the browser says nothing of them.
    """
    frames = "".join(
        f'<iframe data-name="{escape(name)}" width="{width}" height="900" style="border:0" '
        f'srcdoc="{escape(_based(path))}"></iframe>'
        for name, path in pages.items()
        for width in widths
    )
    with TemporaryDirectory() as folder:
        harness = Path(folder) / "harness.html"
        harness.write_text(f"<!doctype html><meta charset=utf-8><script>{LOOK}</script>{frames}", encoding="utf-8")
        options = [
            "--headless",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            f"--user-data-dir={folder}/user",
        ]
        options += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        options += ["--blink-settings=preferredColorScheme=0"] if dark else []
        command = [browser, *options, "--dump-dom", harness.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    _, found, rest = done.stdout.partition('<pre id="seen">')
    if not found:
        raise RuntimeError(f"{browser} ended with {done.returncode}: {done.stderr[-500:]}")
    facts: list[dict[str, Any]] = json.loads(unescape(rest.partition("</pre>")[0]))
    return [Seen(**one | {"wide": tuple(one["wide"]), "missing": tuple(one["missing"])}) for one in facts]


def _based(path: Path) -> str:
    """The page with addresses that hold wherever it is shown."""
    text = path.read_text(encoding="utf-8")
    return text.replace("<head>", f'<head><base href="{path.resolve().as_uri()}">', 1)
