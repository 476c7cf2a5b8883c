"""Pictures are read, turned, made smaller and written; what is no picture is told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags

from jobplane.images import pictures
from jobplane.images.pictures import DamagedPicture, EmptyFile, Limits, NotAPicture, PictureTooLarge
from jobplane.worker import Fatal
from tests.unit.images.files import LIMITS, bomb, brightest_column, clear, opened, photograph, picture


def test_facts_tell_the_camera_but_not_the_place() -> None:
    found = pictures.facts(photograph(), limits=LIMITS)
    assert found.model_dump() == {
        "format": "JPEG",
        "width": 60,
        "height": 40,
        "mode": "RGB",
        "animated": False,
        "has_alpha": False,
        "size_bytes": len(photograph()),
        "camera_make": "Leica",
        "camera_model": "M3",
        "taken_at": "2019-07-14T10:20:30",
        "has_location": True,
    }


def test_a_picture_without_metadata_has_facts_too() -> None:
    found = pictures.facts(picture(kind="PNG", mode="RGBA"), limits=LIMITS)
    assert (found.format, found.has_alpha, found.camera_make, found.taken_at, found.has_location) == (
        "PNG",
        True,
        None,
        None,
        False,
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_set_upright(orientation: int) -> None:
    lies = orientation >= 5
    found = pictures.facts(photograph(orientation), limits=LIMITS)
    small = pictures.thumbnail(photograph(orientation), 30, limits=LIMITS)
    whole = pictures.convert(photograph(orientation), "png", quality=80, max_side=None, limits=LIMITS)
    assert (found.width, found.height) == ((40, 60) if lies else (60, 40))
    assert (small.width, small.height) == ((20, 30) if lies else (30, 20))
    assert opened(whole.data).size == (whole.width, whole.height) == (found.width, found.height)


def test_a_picture_that_was_upside_down_is_bright_on_the_other_side() -> None:
    upright, turned = (pictures.thumbnail(photograph(way), 30, limits=LIMITS) for way in (1, 3))
    assert (brightest_column(upright.data), brightest_column(turned.data)) == (29, 0)


@pytest.mark.parametrize("picture_format", ["jpeg", "png", "webp", "avif"])
def test_nothing_that_is_made_tells_where_or_by_whom(picture_format: pictures.Format) -> None:
    made = pictures.convert(photograph(6), picture_format, quality=80, max_side=None, limits=LIMITS)
    small = pictures.thumbnail(photograph(6), 32, limits=LIMITS)
    for data in (made.data, small.data):
        assert b"Leica" not in data
        assert dict(opened(data).getexif()) == {}
        assert opened(data).getexif().get_ifd(ExifTags.IFD.GPSInfo) == {}


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("1", "PNG"),
        ("L", "JPEG"),
        ("LA", "PNG"),
        ("P", "GIF"),
        ("P", "PNG"),
        ("RGBA", "WEBP"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("I;16", "PNG"),
        ("F", "TIFF"),
        ("RGB", "BMP"),
        ("RGB", "AVIF"),
    ],
)
def test_every_kind_of_pixel_can_be_shown(mode: str, kind: str) -> None:
    data = picture(mode=mode, kind=kind)
    assert pictures.facts(data, limits=LIMITS).width == 60
    for picture_format in ("jpeg", "png", "webp"):
        for max_side in (None, 30):
            made = pictures.convert(data, picture_format, quality=80, max_side=max_side, limits=LIMITS)
            assert opened(made.data).width == (60 if max_side is None else 30)


def test_sixteen_bits_of_grey_become_eight() -> None:
    dark = picture(mode="I;16", kind="PNG")  # 0..255 of 65,535
    made = pictures.convert(dark, "png", quality=80, max_side=None, limits=LIMITS)
    assert set(opened(made.data).tobytes()) == {0}


def test_a_small_picture_is_not_blown_up() -> None:
    small = pictures.thumbnail(picture(20, 10), 320, limits=LIMITS)
    assert (small.width, small.height) == (20, 10)


def test_transparent_parts_become_white_in_a_jpeg() -> None:
    made = pictures.convert(clear(), "jpeg", quality=90, max_side=None, limits=LIMITS)
    assert opened(made.data).getpixel((5, 5)) == (255, 255, 255)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


BAD = {
    "empty": (b"", EmptyFile, "the file is empty"),
    "text": (b"hello, I am a photograph.jpg", NotAPicture, "not a picture"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", NotAPicture, "not a picture"),
    "truncated jpeg": (picture(400, 300)[:2000], DamagedPicture, "JPEG picture, but damaged"),
    "truncated png": (picture(400, 300, kind="PNG")[:500], DamagedPicture, "PNG picture, but damaged"),
    "truncated webp": (_half(picture(400, 300, kind="WEBP")), DamagedPicture, "damaged"),
    "bomb": (bomb(), PictureTooLarge, "too large"),
    "small bomb": (bomb(10_000, 10_000), PictureTooLarge, "large"),
    "too many pixels": (picture(1200, 1000, kind="PNG"), PictureTooLarge, "1,200 x 1,000 pixels"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_fails_for_good_with_a_sentence(case: str) -> None:
    data, error, sentence = BAD[case]
    for work in (
        lambda: pictures.facts(data, limits=LIMITS),
        lambda: pictures.thumbnail(data, 64, limits=LIMITS),
        lambda: pictures.convert(data, "webp", quality=80, max_side=64, limits=LIMITS),
    ):
        with pytest.raises(error, match=sentence) as raised:
            work()
        assert "0x" not in str(raised.value)


def test_a_picture_that_alone_takes_too_much_memory_is_not_read() -> None:
    limits = Limits(max_pixels=1_000_000, memory_bytes=16 * 2_399)  # one pixel less than it has
    with pytest.raises(PictureTooLarge, match="60 x 40 pixels, more than 2,399 are not read"):
        pictures.facts(picture(), limits=limits)


def test_memory_is_free_again_after_good_and_bad_pictures() -> None:
    limits = Limits(max_pixels=1_000_000, memory_bytes=16 * 400 * 300)
    for _ in range(3):
        assert pictures.facts(picture(400, 300), limits=limits).width == 400
        with pytest.raises(DamagedPicture):
            pictures.facts(picture(400, 300)[:2000], limits=limits)


@given(
    st.sampled_from([photograph(), picture(kind="PNG"), picture(kind="GIF", mode="P"), picture(kind="TIFF")]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8),
    st.integers(0, 3000),
)
def test_a_file_damaged_anywhere_is_read_or_refused(data: bytes, damage: list[tuple[int, int]], cut: int) -> None:
    broken = bytearray(data)
    for place, value in damage:
        broken[place % len(broken)] = value
    if cut % 2:
        broken = broken[: cut % len(broken)]
    try:
        small = pictures.thumbnail(bytes(broken), 32, limits=LIMITS)
        pictures.facts(bytes(broken), limits=LIMITS)
    except Fatal:
        return
    assert max(small.width, small.height) <= 32
