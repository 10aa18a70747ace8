"""Decoding of images and masks."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lawder_edge.bundle.processing import grey as grey_of
from lawder_edge.data.images import bit_depth_hint, image_size, read_image, read_mask
from lawder_edge.errors import BadImage

RGB = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY = np.ascontiguousarray(RGB[:, :, 0])


def saved(path: Path, picture: Image.Image | np.ndarray, **options: object) -> Path:
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


def test_an_rgb_png_is_read_as_it_was_written(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.png", RGB))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, RGB)


def test_a_grey_image_has_three_equal_channels_or_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", GREY)
    np.testing.assert_array_equal(read_image(path), np.repeat(GREY[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(read_image(path, channels=1), GREY[:, :, None])


def test_colour_read_as_one_channel_is_the_luma_that_bundles_compute(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    rgba = np.dstack([rgb, rgb[:, :, 0]])
    for name, pixels in (("rgb.png", rgb), ("rgba.png", rgba), ("a.jpg", rgb)):
        path = saved(tmp_path / name, pixels)
        np.testing.assert_array_equal(read_image(path, channels=1)[:, :, 0], grey_of(read_image(path)))
    grey = read_image(tmp_path / "rgb.png", channels=1)
    np.testing.assert_allclose(grey[:, :, 0], rgb @ [0.299, 0.587, 0.114], atol=1)


def test_two_or_four_channels_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="asked for 4 channels"):
        read_image(saved(tmp_path / "a.png", RGB), channels=4)


def test_a_palette_image_gives_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 255])
    image = read_image(saved(tmp_path / "a.png", picture))
    assert image.tolist() == [[[10, 20, 30], [200, 0, 0]], [[0, 0, 255], [200, 0, 0]]]


def test_transparency_is_composited_on_black(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.full(GREY.shape, 255, np.uint8)])
    rgba[0, :, 3] = 0
    rgba[1, :, 3] = 128
    image = read_image(saved(tmp_path / "a.png", rgba))
    assert not image[0].any()
    np.testing.assert_array_equal(image[1], (RGB[1].astype(int) * 128 + 127) // 255)
    np.testing.assert_array_equal(image[2:], RGB[2:])


def test_a_transparent_palette_colour_is_composited_on_black(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    picture.putpalette([250, 250, 250, 200, 10, 20])
    image = read_image(saved(tmp_path / "a.png", picture, transparency=0))
    assert image.tolist() == [[[0, 0, 0], [200, 10, 20]]]


def test_cmyk_is_converted_to_rgb(tmp_path: Path) -> None:
    flat = Image.new("RGB", (16, 16), (200, 60, 30)).convert("CMYK")
    image = read_image(saved(tmp_path / "a.jpg", flat, quality=95))
    assert image.shape == (16, 16, 3)
    np.testing.assert_allclose(image[8, 8], [200, 60, 30], atol=4)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_16_bit_grey_image_keeps_its_high_byte(tmp_path: Path, suffix: str) -> None:
    wide = np.array([[0, 255, 256], [32768, 65279, 65535]], np.uint16)
    path = saved(tmp_path / f"a{suffix}", wide)
    expected = [[0, 0, 1], [128, 254, 255]]
    assert read_image(path, channels=1)[:, :, 0].tolist() == expected
    assert read_image(path).shape == (2, 3, 3)


def test_a_16_bit_rgb_image_keeps_its_high_byte(tmp_path: Path) -> None:
    wide = RGB.astype(np.uint16) * 256 + 99
    cv2.imwrite(str(tmp_path / "a.png"), wide[:, :, ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_the_bits_in_use_of_a_16_bit_image_are_told(tmp_path: Path) -> None:
    assert bit_depth_hint(saved(tmp_path / "a.png", np.array([[0, 4095]], np.uint16))) == 12
    assert bit_depth_hint(saved(tmp_path / "b.png", RGB)) is None


def test_floating_point_and_32_bit_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="floating point samples"):
        read_image(saved(tmp_path / "a.tif", GREY.astype(np.float32)))
    with pytest.raises(BadImage, match="70000; wanted 8 or 16 bits"):
        read_image(saved(tmp_path / "b.tif", np.array([[0, 70000]], np.int32)))


def test_exif_orientation_is_applied_to_image_mask_and_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", GREY, exif=exif)
    turned = np.rot90(GREY, -1)
    np.testing.assert_array_equal(read_image(path, channels=1)[:, :, 0], turned)
    np.testing.assert_array_equal(read_mask(path).labels, turned >= 128)
    assert image_size(path) == turned.shape == (17, 12)


def test_image_size_is_height_and_width(tmp_path: Path) -> None:
    assert image_size(saved(tmp_path / "a.jpg", RGB)) == (12, 17)


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
def test_a_missing_empty_or_foreign_file_is_named_in_the_error(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(BadImage, match=r"none\.png: no such file"):
        read(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(BadImage, match=r"empty\.png: the file is empty \(0 bytes\)"):
        read(tmp_path / "empty.png")
    (tmp_path / "notes.png").write_text("frame 12 is blurred")
    with pytest.raises(BadImage, match=r"notes\.png: not an image.*PNG, JPEG"):
        read(tmp_path / "notes.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp"])
def test_a_truncated_image_is_named_in_the_error(tmp_path: Path, suffix: str) -> None:
    whole = saved(tmp_path / f"whole{suffix}", RGB).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for share in (0.5, 0.7, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(BadImage, match=rf"cut\{suffix}: "):
            read_image(path)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_damaged_bytes_give_pixels_or_a_bad_image_and_nothing_else(tmp_path: Path, file_format: str) -> None:
    rng = np.random.default_rng(1)
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, file_format)
    path = tmp_path / "damaged"
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(buffer.getvalue())
        for position in rng.integers(0, len(damaged), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            outcomes.add(read_image(path).dtype.name)
        except BadImage as error:
            outcomes.add("bad" if str(path) in str(error) else str(error))
    assert outcomes <= {"uint8", "bad"}


def test_a_clean_mask_has_no_notes(tmp_path: Path) -> None:
    values = np.array([[0, 255], [255, 0]], np.uint8)
    for path in (
        saved(tmp_path / "grey.png", values),
        saved(tmp_path / "bit.png", Image.fromarray(values).convert("1")),
        saved(tmp_path / "rgb.png", np.repeat(values[:, :, None], 3, axis=2)),
        saved(tmp_path / "wide.png", values.astype(np.uint16) * 257),
        saved(tmp_path / "one.png", values // 255),
    ):
        mask = read_mask(path)
        assert mask.labels.dtype == np.uint8
        assert (mask.labels.tolist(), mask.notes) == ([[0, 1], [1, 0]], ()), path.name


def test_jpeg_noise_in_a_mask_is_thresholded_and_told(tmp_path: Path) -> None:
    values = np.zeros((32, 32), np.uint8)
    values[10:21, 9:22] = 255
    mask = read_mask(saved(tmp_path / "a.jpg", values, quality=60))
    np.testing.assert_array_equal(mask.labels, values // 255)
    assert len(mask.notes) == 1
    assert "neither 0 nor 255; thresholded at 128" in mask.notes[0]


def test_an_empty_mask_stays_empty_in_jpeg_and_png(tmp_path: Path) -> None:
    values = np.zeros((16, 16), np.uint8)
    assert not read_mask(saved(tmp_path / "a.png", values)).labels.any()
    values[3, 3] = 9
    assert not read_mask(saved(tmp_path / "a.jpg", values)).labels.any()


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (0, 255, 0)])
def test_a_coloured_mask_is_foreground_where_any_channel_is_bright_and_told(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    values = np.zeros((4, 4, 3), np.uint8)
    values[1:3, 1:3] = colour
    mask = read_mask(saved(tmp_path / "a.png", values))
    assert mask.labels.sum() == 4
    assert "colours in 4 pixels (25 %)" in mask.notes[0]


def test_a_mask_on_transparent_ground_has_background_there(tmp_path: Path) -> None:
    values = np.full((2, 2, 4), 255, np.uint8)
    values[0, :, 3] = 0
    assert read_mask(saved(tmp_path / "a.png", values)).labels.tolist() == [[0, 0], [1, 1]]


def palette_mask(path: Path, labels: list[list[int]], colours: list[int]) -> Path:
    picture = Image.fromarray(np.array(labels, np.uint8), mode="P")
    picture.putpalette(colours)
    return saved(path, picture)


def test_a_palette_mask_gives_class_numbers(tmp_path: Path) -> None:
    path = palette_mask(tmp_path / "a.png", [[0, 1], [2, 0]], [0, 0, 0, 255, 0, 0, 0, 0, 64])
    assert read_mask(path, num_classes=3).labels.tolist() == [[0, 1], [2, 0]]
    binary = read_mask(path)
    assert binary.labels.tolist() == [[0, 1], [1, 0]]
    assert binary.notes == ("values up to 2: every non-zero value is foreground",)


def test_a_palette_of_greys_is_read_by_its_greys(tmp_path: Path) -> None:
    path = palette_mask(tmp_path / "a.png", [[0, 1], [1, 1]], [255, 255, 255, 0, 0, 0])
    assert read_mask(path).labels.tolist() == [[1, 0], [0, 0]]


def test_a_grey_label_map_gives_class_numbers_or_any_class_as_foreground(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 1], [2, 0]], np.uint8))
    assert read_mask(path, num_classes=3).labels.tolist() == [[0, 1], [2, 0]]
    assert read_mask(path).labels.tolist() == [[0, 1], [1, 0]]


def test_a_class_number_beyond_the_classes_is_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 3]], np.uint8))
    with pytest.raises(BadImage, match=r"a\.png: class number 3 in the mask, but 3 classes \(0 to 2"):
        read_mask(path, num_classes=3)


def test_two_classes_accept_a_black_and_white_mask(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[0, 255]], np.uint8))
    assert read_mask(path, num_classes=2).labels.tolist() == [[0, 1]]
    with pytest.raises(BadImage, match="class number 255"):
        read_mask(path, num_classes=3)


def test_colours_are_no_class_numbers(tmp_path: Path) -> None:
    values = np.zeros((2, 2, 3), np.uint8)
    values[0, 0] = (255, 0, 0)
    with pytest.raises(BadImage, match=r"a\.png: a mask in colours where 3 classes"):
        read_mask(saved(tmp_path / "a.png", values), num_classes=3)
