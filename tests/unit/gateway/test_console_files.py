"""The console's files: vendored ones are unchanged, built ones are current, and pages run no code of their own."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobplane.gateway.console.static import FOLDER, address

ROOT = Path(__file__).parents[3]
VENDORED = (FOLDER / "vendor", ROOT / "services" / "gateway" / "static_src", ROOT / "tests" / "e2e" / "vendor")
TEMPLATES = sorted((FOLDER.parent / "templates").rglob("*.html"))


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.name)
def test_vendored_files_are_unchanged(folder: Path) -> None:
    listed = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert any("LICENSE" in name for _, name in listed)
    for digest, name in listed:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_no_script_is_vendored_without_its_digest() -> None:
    listed = (FOLDER / "vendor" / "SHA256SUMS").read_text()
    scripts = [file.relative_to(FOLDER / "vendor") for file in (FOLDER / "vendor").rglob("*.js")]
    assert scripts
    assert all(str(script) in listed for script in scripts)


def test_styles_and_icons_are_built_from_their_sources(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "console_css.py", tmp_path], check=True)
    for name in ("console.css", "icons.svg", "LICENSES.txt"):
        assert (tmp_path / name).read_text() == (FOLDER / "console" / name).read_text(), "run `just css`"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_templates_need_no_inline_code_and_no_inline_style(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\sstyle=|\son[a-z]+=|hx-on|javascript:|<style", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert not re.search(r"hx-trigger=\"[^\"]*\[", text), "a filter of htmx is code"
    assert "|safe" not in text.replace(" ", "")


def test_every_icon_that_a_template_names_exists() -> None:
    sprite = (FOLDER / "console" / "icons.svg").read_text()
    named = {name for file in TEMPLATES for name in re.findall(r"icon\(\"([a-z-]+)\"", file.read_text())}
    assert named
    assert all(f'id="{name}"' in sprite for name in named)


def test_an_address_changes_with_its_file() -> None:
    digest = hashlib.sha256((FOLDER / "console" / "theme.js").read_bytes()).hexdigest()
    assert address("console/theme.js") == f"/static/console/theme.js?v={digest[:10]}"
