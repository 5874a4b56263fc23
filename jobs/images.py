"""What `resize_image` does: any common image, to exactly the size asked for."""

import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import PurePosixPath
from typing import IO, Any

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # not EPS: that one runs programs
EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}  # written as what they were read
MAX_PIXELS = 50_000_000  # decoded at four bytes each: 200 MB
QUALITY = 85  # of JPEG and WebP, out of 100
SAMPLE = "samples/sample.png"
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's decoders are known to raise for bytes that are not what their header says.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
)


class TooManyPixels(ValueError):
    """Decoding or writing this image would take more memory than a job may have."""


def resize(source: str, width: int, height: int) -> dict[str, Any]:
    """Store a copy of the image `source` of exactly `width` x `height` pixels; say where.

    The middle of the image fills the size: what sticks out is cropped, nothing is distorted.
    The camera's rotation is applied, of an animation the first frame is taken, transparency is
    kept, metadata (place, camera, comments) is dropped. PNG, JPEG and WebP stay what they are,
    the rest becomes PNG.
    Raises `ValueError` for what is no image that can be read, or larger than `MAX_PIXELS`.
    """
    _check_pixels("The size asked for", width, height)
    with _open(source) as file:
        image, format_name = _decode(file, source or SAMPLE)
    content = _encode(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS), format_name)
    name = _target(source or SAMPLE, width, height, EXTENSIONS[format_name])
    return {
        "source": source or SAMPLE,
        "file": default_storage.save(name, ContentFile(content)),
        "width": width,
        "height": height,
        "bytes": len(content),
    }


@cache
def sample() -> bytes:
    """Return the bundled sample: a PNG of 1200 x 800 pixels, the same bytes every time."""
    size = (1200, 800)
    ramp = Image.linear_gradient("L")
    bands = (ramp.rotate(90), Image.radial_gradient("L"), ramp)
    return _encode(Image.merge("RGB", [band.resize(size) for band in bands]), "PNG")


def _open(source: str) -> IO[bytes]:
    if not source:
        _keep_sample()
        return BytesIO(sample())
    try:
        return default_storage.open(source, "rb")
    except SuspiciousFileOperation:
        raise ValueError(f"source: {source!r} is not inside the storage.") from None
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError):
        raise ValueError(f"source: there is no file {source!r} in the storage.") from None


def _keep_sample() -> None:
    """Show the sample in the storage too. It is never read from there: it may be half written."""
    if default_storage.exists(SAMPLE):
        return
    name = default_storage.save(SAMPLE, ContentFile(sample()))
    if name != SAMPLE:  # somebody else was first, and this copy went beside theirs
        default_storage.delete(name)


def _decode(file: IO[bytes], source: str) -> tuple[Image.Image, str]:
    """Return the first frame, upright, as RGB or RGBA, and the format to write it in."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            _check_pixels(f"source: {source!r}", *image.size)  # from the header: nothing is decoded
            ImageOps.exif_transpose(image, in_place=True)
            # A phone's JPEG with further pictures behind it opens as MPO.
            format_name = "JPEG" if image.format == "MPO" else str(image.format)
            return _plain(image), format_name if format_name in EXTENSIONS else "PNG"
    except BOMBS:
        raise TooManyPixels(f"source: {source!r} has too many pixels to be decoded.") from None
    except TooManyPixels:
        raise
    except BROKEN as error:
        raise ValueError(f"source: {source!r} cannot be read as an image ({error}).") from None


def _plain(image: Image.Image) -> Image.Image:
    """Return RGB, or RGBA where there is transparency, bare of metadata but its profile."""
    if image.mode in ("I", "F", "LAB"):
        raise ValueError(f"its pixels are of the kind {image.mode}, which no screen shows")
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA", "P") else None
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value * (1 / 256)).convert("L")  # convert alone clips
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    plain.info = {"icc_profile": profile} if profile else {}
    return plain


def _encode(image: Image.Image, format_name: str) -> bytes:
    file = BytesIO()
    profile = image.info.get("icc_profile")
    image.save(file, format_name, quality=QUALITY, icc_profile=profile)
    return file.getvalue()


def _target(source: str, width: int, height: int, extension: str) -> str:
    # Of the name 40 characters: in UTF-8 at most 160 of the 255 bytes that a file system allows.
    return f"resized/{PurePosixPath(source).stem[:40]}-{width}x{height}.{extension}"


def _check_pixels(what: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise TooManyPixels(
            f"{what} has {width} x {height} pixels; the limit is {MAX_PIXELS:,} in all."
        )
