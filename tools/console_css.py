"""Builds the console's stylesheet and icon sprite from `services/gateway/static_src`; `just css` runs it.

Nothing here runs in production: the results are committed under `static/console/`.
"""

import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

GATEWAY = Path(__file__).parent.parent / "services" / "gateway"
SOURCES = GATEWAY / "static_src"
STATIC = GATEWAY / "src" / "jobplane" / "gateway" / "static" / "console"

VEGA_SECTIONS = (
    *("Button", "Textarea", "Input", "Native Select", "Alert", "Badge"),
    *("Dialog", "Card", "Field", "Empty", "Label", "Table"),
)
"""The parts of Basecoat's theme that the console uses; the others would triple the size of the page's styles."""

_SECTION = re.compile(r"^ *\/\* ([A-Z][A-Za-z ]+) \*\/$", re.MULTILINE)
_ICON_BODY = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def theme_sections(theme: str) -> str:
    """The chosen sections of Basecoat's theme file, in their order."""
    parts = _SECTION.split(theme)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    chosen = "\n".join(_without_end(sections[name]) for name in VEGA_SECTIONS)
    return f"@layer components {{\n{chosen}\n}}\n"


def _without_end(section: str) -> str:
    """A section without the brace that ends the file's layer, which the last one has."""
    return section.rstrip().removesuffix("}") if section.count("}") > section.count("{") else section


def build_styles(output: Path) -> None:
    """Compile `console.css` with Tailwind, only with the classes that templates and scripts use."""
    with tempfile.NamedTemporaryFile("w", suffix=".css", dir=SOURCES, prefix=".theme-") as theme:
        theme.write(theme_sections((SOURCES / "basecoat" / "styles" / "vega.css").read_text()))
        theme.flush()
        with tempfile.NamedTemporaryFile("w", suffix=".css", dir=SOURCES, prefix=".entry-") as entry:
            entry.write((SOURCES / "console.css").read_text().replace("./theme.css", f"./{Path(theme.name).name}"))
            entry.flush()
            binary = Path(sysconfig.get_path("scripts")) / "tailwindcss"
            command: list[str | Path] = [binary, "--input", entry.name, "--output", output, "--minify"]
            subprocess.run(command, check=True, capture_output=True)


def build_sprite(output: Path) -> None:
    """Join the icons into one file of symbols: each page fetches it once and refers to `icons.svg#name`."""
    symbols = []
    for icon in sorted((SOURCES / "lucide").glob("*.svg")):
        found = _ICON_BODY.search(icon.read_text())
        if found is None:
            sys.exit(f"{icon} is not an icon")
        body = " ".join(found[1].split())
        symbols.append(
            f'<symbol id="{icon.stem}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
            f'stroke-linecap="round" stroke-linejoin="round">{body}</symbol>'
        )
    licence = "<!-- Icons by Lucide, ISC licence: see LICENSES.txt -->"
    output.write_text(f'<svg xmlns="http://www.w3.org/2000/svg">\n{licence}\n' + "\n".join(symbols) + "\n</svg>\n")


def build_licences(output: Path) -> None:
    """The licence texts of what the built files contain."""
    sources = {"Basecoat (console.css)": "basecoat/LICENSE.md", "Lucide (icons.svg)": "lucide/LICENSE"}
    texts = [f"{title}\n\n{(SOURCES / source).read_text().strip()}\n" for title, source in sources.items()]
    output.write_text("\n\n".join(texts))


def main() -> None:
    """Build everything into the package, or into the folder given as the only argument."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else STATIC
    target.mkdir(parents=True, exist_ok=True)
    build_styles(target / "console.css")
    build_sprite(target / "icons.svg")
    build_licences(target / "LICENSES.txt")


if __name__ == "__main__":
    main()
