"""What a file is, and what it may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.gateway import assets


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\n\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"<svg xmlns=", "application/octet-stream"),
        (b"<html>", "application/octet-stream"),
        (b" \x89PNG\r\n\x1a\n", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_a_file_is_told_by_its_first_bytes(head: bytes, content_type: str) -> None:
    assert assets.sniff(head) == content_type


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\x.png", "x.png"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("\u202egnp.exe", "gnp.exe"),
        ("", "file"),
        ("dir/", "file"),
        ("  ", "file"),
    ],
)
def test_a_name_has_no_directories_and_no_surprises(given_name: str, name: str) -> None:
    assert assets.clean_name(given_name) == name


@given(st.text(st.characters(exclude_categories=[]), max_size=500))
def test_every_name_can_be_kept_and_told(given_name: str) -> None:
    name = assets.clean_name(given_name)
    assert 0 < len(name) <= 200
    assert not {"/", "\\", "\0", "\n"} & set(name)
    assert name.encode().decode() == name
