"""Failures with the same cause share a fingerprint; failures with different causes do not."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobplane.jobs.fingerprint import fingerprint

STACK = """Traceback (most recent call last):
  File "/srv/app/worker.py", line 40, in run
    handler(payload)
  File "/srv/app/images.py", line 12, in thumbnail
    picture.load()
  File "/usr/lib/python3/PIL/ImageFile.py", line 290, in load
    raise OSError(message)
OSError: image file is truncated (42 bytes not processed)
"""


def same(one: str, other: str) -> bool:
    return fingerprint("E", one, None) == fingerprint("E", other, None)


def test_a_fingerprint_is_sixteen_hexadecimal_digits() -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", fingerprint("OSError", "disk full", STACK))


def test_a_fingerprint_never_changes_between_releases() -> None:
    assert fingerprint("OSError", "image file is truncated (42 bytes not processed)", STACK) == "d0f80abc6baca1c3"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("truncated (42 bytes left)", "truncated (7 bytes left)"),
        ("took 1.5 s", "took 20 s"),
        ("at 10.0.0.1:5432", "at 10.0.0.17:5432"),
        ("user 7d444840-9dc0-11d1-b245-5ffdce74fad2 gone", "user 019AA000-0000-7000-8000-000000000001 gone"),
        ("object at 0x7f3a52", "object at 0x10fe"),
        ("digest deadbeef01 differs", "digest 0123456789abcdef differs"),
        ("no key 'alpha'", "no key 'beta gamma'"),
        ('no key "alpha"', 'no key ""'),
        ("cannot open /var/data/a.png", "cannot open /tmp/x/y/z.jpg"),
        (r"cannot open C:\Users\ada\a.png", r"cannot open D:\data\b\c.png"),
        ("GET https://example.org/a?b=1 failed", "GET http://localhost:8080/ failed"),
        ("spaces  and\nlines", "spaces and lines"),
    ],
)
def test_what_differs_from_run_to_run_does_not_count(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("disk full", "permission denied"),
        ("cannot open 'a'", "cannot close 'a'"),
        ("and/or", "either"),
        ("can't do it", "won't do it"),
        ("defaced facade", "accede"),
    ],
)
def test_different_words_are_different_causes(one: str, other: str) -> None:
    assert not same(one, other)


def test_an_apostrophe_does_not_swallow_the_message() -> None:
    assert not same("can't read the header, don't retry", "can't write the footer, don't retry")


def test_the_type_counts() -> None:
    assert fingerprint("OSError", "full", None) != fingerprint("ValueError", "full", None)


def test_line_numbers_and_directories_of_frames_do_not_count() -> None:
    moved = (
        STACK.replace("line 12", "line 99").replace("/srv/app/", "/opt/release-7/").replace("\n    picture", "\n    my")
    )
    assert fingerprint("OSError", "x", STACK) == fingerprint("OSError", "x", moved)


def test_the_function_that_failed_counts() -> None:
    assert fingerprint("E", "x", STACK) != fingerprint("E", "x", STACK.replace("in thumbnail", "in convert"))


def test_far_callers_do_not_count() -> None:
    frame = '  File "/a/{0}.py", line 1, in {0}\n    call()\n'
    inner = "".join(frame.format(f"inner_{letter}") for letter in "abcde")
    assert fingerprint("E", "x", frame.format("cron") + inner) == fingerprint("E", "x", frame.format("console") + inner)


def test_kinds_that_fail_in_the_same_place_share_a_cause() -> None:
    stack = (
        '  File "/a/workload.py", line 4, in {0}\n    await ctx.in_thread(pictures.{0})\n'
        '  File "/a/pictures.py", line 9, in {0}\n    with opened(data):\n'
        '  File "/usr/lib/contextlib.py", line 137, in __enter__\n    next(self.gen)\n'
        '  File "/a/pictures.py", line 40, in opened\n    raise EmptyFile()\n'
    )
    assert fingerprint("E", "x", stack.format("convert")) == fingerprint("E", "x", stack.format("thumbnail"))


def test_what_lies_between_a_handler_and_its_thread_does_not_count() -> None:
    handler = '  File "/a/workload.py", line 4, in {0}\n    await ctx.in_thread(int, text)\n'
    between = '  File "/x/jobplane/worker/threads.py", line 64, in {0}\n    value = function()\n'
    both = [handler.format("convert") + between.format(name) * 2 for name in ("_run", "_called")]
    assert fingerprint("E", "x", both[0]) == fingerprint("E", "x", both[1])
    assert fingerprint("E", "x", both[0]) != fingerprint("E", "x", handler.format("thumbnail") + between.format("_run"))


def test_stacks_of_other_languages_count_without_their_numbers() -> None:
    stack = "Error: x\n    at resize (/app/a.js:{}:5)\n    at {} (/app/b.js:7:1)"
    assert fingerprint("E", "x", stack.format(3, "run")) == fingerprint("E", "x", stack.format(30, "run"))
    assert fingerprint("E", "x", stack.format(3, "run")) != fingerprint("E", "x", stack.format(3, "main"))


@settings(derandomize=True, deadline=None)
@given(st.text(), st.text(max_size=200), st.none() | st.text(max_size=200))
def test_any_text_has_a_fingerprint(error_type: str, message: str, stack: str | None) -> None:
    assert len(fingerprint(error_type, message, stack)) == 16


def test_a_hostile_message_costs_little() -> None:
    for hostile in ("a" * 4096, "'" * 4096, "/a" * 2048, "0x" * 2048, "deadbeef" * 512, "a-" * 2048, "1.1" * 1365):
        assert fingerprint("E", hostile, hostile * 8)
