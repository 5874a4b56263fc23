import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from PIL import Image
from pytest_django.fixtures import Settings

from jobs import images
from jobs.errors import InvalidRequest
from jobs.tasks import resize_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(autouse=True)
def _storage(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def store(name: str, content: bytes | Image.Image, format_name: str = "PNG", **options: Any) -> str:
    if isinstance(content, Image.Image):
        file = BytesIO()
        content.save(file, format_name, **options)
        content = file.getvalue()
    return default_storage.save(name, ContentFile(content))


def resized(source: str, width: int = 8, height: int = 8) -> Image.Image:
    with default_storage.open(images.resize(source, width, height)["file"]) as file:
        image = Image.open(BytesIO(file.read()))
        image.load()
        return image


def halves(mode: str, left: Any, right: Any, size: tuple[int, int] = (40, 20)) -> Image.Image:
    image = Image.new(mode, size, right)
    image.paste(left, (0, 0, size[0] // 2, size[1]))
    return image


def near(pixel: Any, colour: tuple[int, ...], by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(pixel, colour, strict=True))


def alpha(image: Image.Image, at: tuple[int, int]) -> Any:
    return image.getchannel("A").getpixel(at)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# --- what comes out ---------------------------------------------------------------------------


def test_the_result_says_what_was_stored_and_where() -> None:
    source = store("photos/cat.png", Image.new("RGB", (40, 20)))
    result = images.resize(source, 10, 5)
    assert result == {
        "source": "photos/cat.png",
        "file": "resized/cat-10x5.png",
        "width": 10,
        "height": 5,
        "bytes": default_storage.size("resized/cat-10x5.png"),
    }


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7), (40, 20), (33, 33), (10_000, 1)])
def test_the_size_is_exactly_what_was_asked_for(size: tuple[int, int]) -> None:
    source = store("a.png", Image.new("RGB", (40, 20)))
    assert resized(source, *size).size == size


def test_what_sticks_out_is_cropped_and_nothing_is_distorted() -> None:
    image = Image.new("RGB", (60, 20), RED)  # the middle third is blue
    image.paste(BLUE, (20, 0, 40, 20))
    middle = resized(store("a.png", image), 20, 20)
    assert all(near(middle.getpixel(at), BLUE) for at in ((2, 10), (10, 10), (17, 10)))


@pytest.mark.parametrize(
    ("format_name", "result_format", "extension"),
    [
        ("PNG", "PNG", "png"),
        ("JPEG", "JPEG", "jpg"),
        ("WEBP", "WEBP", "webp"),
        ("GIF", "PNG", "png"),
        ("BMP", "PNG", "png"),
        ("TIFF", "PNG", "png"),
    ],
)
def test_the_format_stays_or_becomes_png(
    format_name: str, result_format: str, extension: str
) -> None:
    source = store("a.bin", halves("RGB", RED, BLUE), format_name)
    image = resized(source, 20, 10)
    assert image.format == result_format
    assert near(image.convert("RGB").getpixel((2, 5)), RED)
    assert default_storage.exists(f"resized/a-20x10.{extension}")


def test_a_second_execution_does_not_overwrite_the_first_ones_file() -> None:
    source = store("a.png", Image.new("RGB", (4, 4)))
    first, second = images.resize(source, 2, 2)["file"], images.resize(source, 2, 2)["file"]
    assert first != second
    assert default_storage.exists(first)
    assert default_storage.exists(second)


def test_a_long_name_in_any_script_is_shortened_to_what_a_disk_takes() -> None:
    source = store("图" * 80 + ".png", Image.new("RGB", (4, 4)))
    assert images.resize(source, 10_000, 1)["file"].startswith("resized/图图")


# --- what goes in -----------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_cameras_rotation_is_applied(orientation: int) -> None:
    image = halves("RGB", RED, BLUE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = resized(store("a.jpg", image, "JPEG", exif=exif, quality=95), 20, 20)
    red_at = {3: (17, 10), 6: (10, 2), 8: (10, 17)}[orientation]
    assert near(found.getpixel(red_at), RED, by=40)
    assert 0x0112 not in found.getexif()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_place_camera_and_comments_are_not_passed_on(format_name: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    options = {"comment": b"SecretComment"} if format_name == "JPEG" else {}
    source = store("a.bin", Image.new("RGB", (9, 9)), format_name, exif=exif, **options)
    with default_storage.open(source) as file:
        assert b"Secret" in file.read()
    with default_storage.open(images.resize(source, 8, 8)["file"]) as file:
        assert b"Secret" not in file.read()


def test_a_colour_profile_is_kept_where_it_still_fits_the_pixels() -> None:
    rgb = store("a.png", Image.new("RGB", (9, 9)), icc_profile=b"profile")
    grey = store("b.png", Image.new("L", (9, 9)), icc_profile=b"profile")
    assert resized(rgb).info["icc_profile"] == b"profile"
    assert "icc_profile" not in resized(grey).info


def test_of_an_animation_the_first_frame_is_taken() -> None:
    first, second = Image.new("RGB", (9, 9), RED), Image.new("RGB", (9, 9), BLUE)
    for format_name in ("GIF", "WEBP", "PNG"):
        source = store("a", first, format_name, save_all=True, append_images=[second], duration=50)
        found = resized(source)
        assert getattr(found, "n_frames", 1) == 1
        assert near(found.convert("RGB").getpixel((4, 4)), RED)


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("RGB", (9, 9), RED).convert("CMYK")
    found = resized(store("a.jpg", image, "JPEG"))
    assert found.mode == "RGB"
    assert near(found.getpixel((4, 4)), RED)


def test_a_palette_becomes_its_colours() -> None:
    image = halves("RGB", RED, BLUE).convert("P", palette=Image.Palette.ADAPTIVE)
    found = resized(store("a.png", image), 20, 10)
    assert found.mode == "RGB"
    assert near(found.getpixel((2, 5)), RED)


def test_a_palette_with_a_transparent_colour_stays_transparent() -> None:
    image = Image.new("P", (9, 9), 0)
    image.putpalette([*RED, *BLUE])
    found = resized(store("a.png", image, transparency=0))
    assert found.mode == "RGBA"
    assert alpha(found, (4, 4)) == 0


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_kept(format_name: str, mode: str) -> None:
    clear, solid = ((255, 0, 0, 0), (255, 0, 0, 255)) if mode == "RGBA" else ((99, 0), (99, 255))
    found = resized(store("a.bin", halves(mode, clear, solid), format_name), 20, 10)
    assert alpha(found, (2, 5)) == 0
    assert alpha(found, (17, 5)) == 255


def test_a_transparent_edge_does_not_darken_what_is_beside_it() -> None:
    image = halves("RGBA", (0, 0, 0, 0), (255, 255, 255, 255), size=(9, 9))
    found = resized(store("a.png", image), 3, 3)
    assert all(near(pixel[:3], (255, 255, 255)) for pixel in pixels(found) if pixel[3])


def pixels(image: Image.Image) -> list[Any]:
    return [image.getpixel((x, y)) for x in range(image.width) for y in range(image.height)]


def test_black_and_white_and_grey_keep_their_brightness() -> None:
    for mode, value, expected in (("1", 1, 255), ("L", 99, 99), ("I;16", 99 * 256, 99)):
        found = resized(store("a.png", Image.new(mode, (9, 9), value)))
        assert near(found.getpixel((4, 4)), (expected,) * 3, by=1)


def test_pixels_that_no_screen_shows_are_refused() -> None:
    with pytest.raises(ValueError, match="which no screen shows"):
        images.resize(store("a.tif", Image.new("F", (9, 9)), "TIFF"), 8, 8)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(10_000, 5_001), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    source = store("bomb.png", png_header(*size))
    with pytest.raises(images.TooManyPixels, match=r"'bomb\.png' has .*pixels"):
        images.resize(source, 10, 10)


def test_a_result_of_too_many_pixels_is_refused_before_anything_is_read() -> None:
    with pytest.raises(images.TooManyPixels, match="size asked for has 10000 x 10000"):
        images.resize("missing.png", 10_000, 10_000)


def jpeg() -> bytes:
    file = BytesIO()
    Image.effect_noise((99, 99), 50).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Dear reader, this is text.",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x89PNG\r\n\x1a\n",
        png_header(99, 99),
        png_header(0, 0),
        jpeg()[:20],
        jpeg()[: len(jpeg()) // 2],
        b"GIF89a" + bytes(20),
        b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(8),
        b"BM" + bytes(60),
        b"II*\x00" + bytes(40),
    ],
)
def test_what_is_no_whole_image_is_refused_by_name(content: bytes) -> None:
    source = store("odd.bin", content)
    with pytest.raises(ValueError, match=r"^source: 'odd\.bin' cannot be read as an image"):
        images.resize(source, 8, 8)


@pytest.mark.parametrize("end", range(8, 60, 3))
def test_an_image_cut_short_is_refused_by_name(end: int) -> None:
    file = BytesIO()
    halves("RGB", RED, BLUE).save(file, "PNG")
    source = store("cut.png", file.getvalue()[:end])
    with pytest.raises(ValueError, match=r"^source: 'cut\.png' cannot be read"):
        images.resize(source, 2, 2)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "..", "."])
def test_a_name_outside_of_the_storage_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path.parent / "secret.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"^source: "):
        images.resize(name, 8, 8)


@pytest.mark.parametrize(
    "name", ["missing.png", "folder", "folder/a.png/b", "x" * 255, "a\x00.png"]
)
def test_a_name_without_a_file_is_refused(name: str) -> None:
    store("folder/a.png", Image.new("RGB", (4, 4)))
    with pytest.raises(ValueError, match=r"^source: "):
        images.resize(name, 8, 8)


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"width": 0}, "width"),
        ({"width": -1}, "width"),
        ({"width": 10_001}, "width"),
        ({"height": 10_001}, "height"),
        ({"height": 1.5}, "height"),
        ({"height": "tall"}, "height"),
        ({"source": None}, "source"),
        ({"source": "x" * 256}, "source"),
        ({"crop": True}, "crop"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(fault: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        resize_image.validate({"width": 8, "height": 8, **fault})
    assert [error.field for error in refused.value.errors] == [f"payload.{field}"]


# --- the sample -------------------------------------------------------------------------------


def test_without_a_source_the_bundled_sample_is_resized() -> None:
    result = resize_image.run(resize_image.validate({"width": 30, "height": 20}))
    assert result["source"] == "samples/sample.png"
    assert result["file"] == "resized/sample-30x20.png"
    with default_storage.open("samples/sample.png") as file:
        assert file.read() == images.sample()


def test_the_sample_is_the_same_every_time() -> None:
    before = images.sample()
    images.sample.cache_clear()
    assert images.sample() == before


def test_two_who_store_the_sample_at_once_leave_one(monkeypatch: pytest.MonkeyPatch) -> None:
    images.resize("", 3, 2)
    really_exists = FileSystemStorage.exists
    answers = [False]  # to the first question alone: then the other one has stored it

    def exists(storage: FileSystemStorage, name: str) -> bool:
        return answers.pop() if answers else really_exists(storage, name)

    monkeypatch.setattr(FileSystemStorage, "exists", exists)
    images._keep_sample()
    assert not answers
    assert default_storage.listdir("samples")[1] == ["sample.png"]


def test_a_half_written_sample_is_not_read() -> None:
    store("samples/sample.png", b"half")
    assert resized("", 3, 2).size == (3, 2)
