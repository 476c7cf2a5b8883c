"""Compile requirements*.lock: third-party packages with their hashes, no registry host, no machine path."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = "libs/cli/src/jobplane/cli/requirements-demo.lock"
MEMBERS = ("common", "worker", "cli", "jobs", "audit", "health", "gateway", "images")


def compile_lock(output: str, *what: str) -> None:
    """Write one lock file, beginning from the versions it already names."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", *(f"--no-emit-package=jobplane-{member}" for member in MEMBERS)]
    subprocess.run([*command, *what, "--output-file", output, *sys.argv[1:]], check=True, cwd=ROOT)


def main() -> None:
    """Compile what runs, then what checks and tests it on top."""
    compile_lock("requirements.lock", "pyproject.toml")
    compile_lock("requirements-dev.lock", "--group", "dev", "--constraint", "requirements.lock")
    compile_lock(DEMO, "--no-deps", "tools/requirements-demo.in")
    for name in ("requirements.lock", "requirements-dev.lock", DEMO):
        text = (ROOT / name).read_text()
        if "://" in text or str(ROOT) in text:
            sys.exit(f"{name} names a host or a path of this machine")


if __name__ == "__main__":
    main()
