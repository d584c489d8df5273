"""Image files: what becomes of each kind of picture, what is refused, and which id a file has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from paretoboard.datasets import listing
from paretoboard.datasets.decoding import decode
from paretoboard.errors import DataError
from pictures import bomb, encoded, pixels, written

# Pictures


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_picture_in_a_format_that_loses_nothing_keeps_its_pixels(kind: str) -> None:
    assert (np.asarray(decode(encoded(pixels(), kind))) == pixels()).all()


def test_a_jpeg_is_decoded_as_torchvision_does(tmp_path: Path) -> None:
    from torchvision.datasets.folder import default_loader

    path = written(tmp_path / "some.jpg", encoded(pixels(), "JPEG", quality=90))
    assert (np.asarray(decode(path.read_bytes())) == np.asarray(default_loader(str(path)))).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_other_kinds_of_pixels_become_rgb_as_torchvision_makes_them(mode: str, tmp_path: Path) -> None:
    from torchvision.datasets.folder import default_loader

    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    path = written(tmp_path / "some.img", encoded(Image.fromarray(pixels()).convert(mode), kind))
    found = decode(path.read_bytes())
    assert (found.mode, found.size) == ("RGB", (60, 40))
    assert (np.asarray(found) == np.asarray(default_loader(str(path)))).all()


def test_a_grey_picture_has_three_equal_channels_and_a_cmyk_one_its_colours() -> None:
    grey = np.asarray(decode(encoded(pixels()[..., 0], "JPEG")))
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    cyan = decode(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"))
    red, green, blue = cyan.getpixel((4, 4))
    assert red < 20
    assert green > 235
    assert blue > 235


def test_an_orientation_that_the_camera_noted_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert decode(encoded(pixels(40, 60), "JPEG", exif=exif)).size == (60, 40)


def test_of_16_bits_a_colour_the_upper_8_are_taken() -> None:
    levels = (pixels().astype(np.uint16) << 8) + 200
    header = b"P6 60 40 65535\n"
    assert (np.abs(np.asarray(decode(header + levels.astype(">u2").tobytes())).astype(int) - pixels()) <= 1).all()


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pictures_of_more_than_8_bits_are_refused_and_not_cut_off(mode: str) -> None:
    levels = np.linspace(0, 60_000, 64).reshape(8, 8)
    picture = Image.fromarray(levels.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    with pytest.raises(DataError, match="8 bits a channel would be right"):
        decode(encoded(picture, "TIFF"))


def test_a_20000_x_20000_picture_is_refused_without_decoding_it() -> None:
    script = (
        "import resource, sys\n"
        "from paretoboard.datasets.decoding import decode; from paretoboard.errors import DataError\n"
        "content = sys.stdin.buffer.read(); decode_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: decode(content)\n"
        "except DataError as error: print(error)\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - decode_before < 100_000\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=bomb(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"too large a picture, refused before decoding: ")
    assert b"400000000 pixels" in done.stdout


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_that_pillow_only_warns_of_is_refused_too() -> None:
    with pytest.raises(DataError, match="10,000 x 10,000 pixels, 89,478,485 at most"):
        decode(bomb(10_000, 10_000))


def test_a_large_picture_within_the_bound_is_decoded() -> None:
    assert decode(bomb(2_000, 1_000)).size == (2_000, 1_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_a_picture_that_is_cut_short_is_an_error_with_the_reason(kind: str) -> None:
    content = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), kind)
    with pytest.raises(DataError, match=r"damaged: |not an image"):
        decode(content[: len(content) // 2])


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff\xe0", b"GIF89a" + bytes(20), b"%PDF-1.4", bytes(99)])
def test_what_is_no_picture_is_an_error_with_the_reason(content: bytes) -> None:
    with pytest.raises(DataError, match=r"damaged: |not an image: none of JPEG, PNG"):
        decode(content)


@given(st.sampled_from(["JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM"]), st.data())
def test_altered_bytes_give_a_picture_or_an_error_of_ours(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(pixels(8, 8), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(content)).mode
    except DataError:
        return
    assert found == "RGB"


# Ids


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=3))
def test_every_name_has_one_plain_id_that_leads_back_to_it(parts: list[bytes]) -> None:
    if any(b"/" in part or b"\0" in part or part in (b".", b"..") for part in parts):
        return
    relative = Path(*map(os.fsdecode, parts))
    name = listing.image_id(relative)
    assert name.isascii()
    assert name.isprintable()
    assert " " not in name
    assert not name.startswith("#")
    assert listing.path_of(name) == str(relative)


def test_ids_of_common_names_are_the_paths_themselves() -> None:
    for name in ("val/n01440764/ILSVRC2012_val_00000293.JPEG", "train/n03590841/n03590841_jack-o'-lantern.JPEG"):
        assert listing.image_id(Path(name)) == name
    assert listing.image_id(Path("cat/my photo.jpg")) == "cat/my%20photo.jpg"
    assert listing.image_id(Path("#1/50%.jpg")) == "%231/50%25.jpg"


@pytest.mark.parametrize(
    "name", ["../cat.jpg", "cat/../../x.jpg", "/etc/passwd", "cat//x.jpg", "cat/", "", "cat/x%00.jpg", "cat/%41.jpg"]
)
def test_what_leads_out_of_the_folder_or_has_another_id_is_no_id(name: str) -> None:
    with pytest.raises(DataError, match="is no image's id"):
        listing.path_of(name)
