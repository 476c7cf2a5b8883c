"""Swagger's files are the ones that were vendored."""

import hashlib

from jobplane.gateway.routes.docs import ASSETS


def test_vendored_files_are_unchanged() -> None:
    lines = [line.split("  ") for line in (ASSETS / "SHA256SUMS").read_text().splitlines()]
    listed = {name: digest for digest, name in lines}
    for name, digest in listed.items():
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest, name
    assert {file.name for file in ASSETS.iterdir()} - {"SHA256SUMS", "VERSION"} == set(listed)
