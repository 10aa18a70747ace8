from __future__ import annotations

import ast
import hashlib
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from lawder_edge.bundle import processing
from lawder_edge.bundle.processing import (
    MAX_SHRINK,
    RESIZE_VERSION,
    checked_probabilities,
    class_numbers,
    foreground,
    grey,
    labels,
    labels_to_size,
    prob_to_size,
    probabilities,
    resize,
    stored,
    taps,
    to_input,
    to_mask,
    to_tensor,
)


def reference_weights(source: int, target: int, i: int) -> list[int]:
    """The weights of output i over all inputs, by the definition, in Python integers."""
    support = 2 * max(source, target)
    raw = [max(0, support - abs((2 * j + 1) * target - (2 * i + 1) * source)) for j in range(source)]
    total = sum(raw)
    weights = [(2 * r * 2**14 + total) // (2 * total) for r in raw]
    weights[raw.index(max(raw))] += 2**14 - sum(weights)
    return weights


def reference_axis(samples: list[int], target: int) -> list[int]:
    out = []
    for i in range(target):
        weights = reference_weights(len(samples), target, i)
        out.append((sum(w * s for w, s in zip(weights, samples, strict=True)) + 2**13) >> 14)
    return out


def reference_resize(image: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.generic]:
    """One channel: all rows, then all columns."""
    wide = [reference_axis(row, size[1]) for row in image.tolist()]
    columns = [reference_axis(list(column), size[0]) for column in zip(*wide, strict=True)]
    return np.array(list(zip(*columns, strict=True)), dtype=image.dtype)


sides = st.integers(1, 40)
dtypes = st.sampled_from([np.uint8, np.uint16])


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides, dtypes, st.integers(0, 2**32 - 1))
def test_resize_equals_the_definition_in_python_integers(
    h: int, w: int, new_h: int, new_w: int, dtype: type[np.generic], seed: int
) -> None:
    top = int(np.iinfo(dtype).max)
    image = np.random.default_rng(seed).integers(0, top, (h, w), dtype, endpoint=True)
    np.testing.assert_array_equal(resize(image, (new_h, new_w)), reference_resize(image, (new_h, new_w)))


def integer_axis(rows: NDArray[np.generic], target: int) -> NDArray[np.generic]:
    """(N, ...) -> (target, ...): tap by tap in 64-bit integers."""
    indices, weights = taps(rows.shape[0], target)
    total = np.full((target, *rows.shape[1:]), 2**13, np.int64)
    for index, weight in zip(indices.T, weights.T, strict=True):
        total += rows[index] * weight.astype(np.int64).reshape(-1, *[1] * (rows.ndim - 1))
    return (total >> 14).clip(0, np.iinfo(rows.dtype).max).astype(rows.dtype)


def integer_resize(image: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.generic]:
    return integer_axis(integer_axis(image.swapaxes(0, 1), size[1]).swapaxes(0, 1), size[0])


@pytest.mark.parametrize(
    "shape", [(1080, 1920), (2160, 3840), (576, 720), (576, 768), (1920, 1080), (288, 384), (1072, 1920), (1080, 256)]
)
def test_frames_of_cameras_are_resized_as_in_integers(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    # Whole sums and largest samples, where rounding in floating point would show first.
    image[: shape[0] // 4] = 255
    np.testing.assert_array_equal(resize(image, (256, 256)), integer_resize(image, (256, 256)))


@pytest.mark.parametrize("size", [(1080, 1920), (576, 768), (288, 384), (256, 1000)])
def test_probabilities_grow_to_the_size_of_a_frame_as_in_integers(size: tuple[int, int]) -> None:
    steps = np.random.default_rng(0).integers(0, 65536, (256, 256), np.uint16)
    steps[:40] = 65535
    np.testing.assert_array_equal(resize(steps, size), integer_resize(steps, size))


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 300), st.integers(1, 300), dtypes, st.data())
def test_a_part_of_the_result_is_that_part_of_the_whole(
    h: int, w: int, new_h: int, new_w: int, dtype: type[np.generic], data: st.DataObject
) -> None:
    image = np.random.default_rng(h * 1000 + w).integers(0, np.iinfo(dtype).max, (h, w, 2), dtype, endpoint=True)
    starts = data.draw(st.integers(0, new_h - 1)), data.draw(st.integers(0, new_w - 1))
    stops = data.draw(st.integers(starts[0] + 1, new_h)), data.draw(st.integers(starts[1] + 1, new_w))
    part = slice(starts[0], stops[0]), slice(starts[1], stops[1])
    np.testing.assert_array_equal(resize(image, (new_h, new_w), part=part), resize(image, (new_h, new_w))[part])


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides, dtypes, st.floats(0, 1))
def test_a_constant_image_stays_constant(
    h: int, w: int, new_h: int, new_w: int, dtype: type[np.generic], share: float
) -> None:
    value = int(share * np.iinfo(dtype).max)
    resized = resize(np.full((h, w), value, dtype), (new_h, new_w))
    assert resized.shape == (new_h, new_w)
    assert resized.dtype == dtype
    assert (resized == value).all()


@settings(max_examples=30, deadline=None)
@given(sides, sides, st.integers(0, 2**32 - 1))
def test_resizing_to_the_same_size_gives_the_same_image_in_other_memory(h: int, w: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)
    resized = resize(image, (h, w))
    np.testing.assert_array_equal(resized, image)
    assert not np.may_share_memory(resized, image)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.integers(1, 600))
def test_weights_of_every_output_are_positive_and_sum_to_one(source: int, target: int) -> None:
    if source > MAX_SHRINK * target:
        return
    indices, weights = taps(source, target)
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) == 2**14).all()
    assert indices.min() >= 0
    assert indices.max() < source


@pytest.mark.parametrize("target", [1, 2, 3, 5])
@pytest.mark.parametrize("factor", [128, 1000, MAX_SHRINK])
def test_the_widest_shrinks_keep_flat_images_flat_and_equal_the_definition(target: int, factor: int) -> None:
    row = np.random.default_rng(0).integers(0, 65536, (1, target * factor), np.uint16)
    np.testing.assert_array_equal(resize(row, (1, target))[0], reference_axis(row[0].tolist(), target))
    assert (resize(np.full_like(row, 65535), (1, target)) == 65535).all()


def test_another_result_needs_another_version() -> None:
    rows, columns = np.mgrid[0:61, 0:83]
    image = ((rows * rows * 7 + columns * 13) % 251).astype(np.uint8)
    found = resize(image, (40, 120)).tobytes() + resize(image.astype(np.uint16) * 257, (97, 33)).tobytes()
    assert (RESIZE_VERSION, hashlib.sha256(found).hexdigest()) == (
        1,
        "20136e3c8ffa7fdee3b07ffea61d23c0702d5e9dd5a9f0740e912c5ae4e0aad3",
    )


def test_channels_are_resized_apart() -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 51, 3), np.uint8)
    resized = resize(image, (64, 20))
    for channel in range(3):
        np.testing.assert_array_equal(resized[:, :, channel], resize(image[:, :, channel], (64, 20)))


def test_a_view_with_strides_gives_what_its_copy_gives() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    view = image[::-2, ::3, ::-1]
    np.testing.assert_array_equal(resize(view, (32, 32)), resize(view.copy(), (32, 32)))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((288, 384), (256, 256)), ((1080, 1920), (256, 256)), ((100, 130), (256, 352)), ((256, 256), (97, 400))],
)
def test_resize_is_within_one_level_of_pillows_antialiased_bilinear(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    assert np.abs(resize(image, size).astype(int) - theirs).max() <= 1


def test_mirroring_before_or_after_differs_by_rounding_alone() -> None:
    image = np.random.default_rng(2).integers(0, 256, (90, 70), np.uint8)
    mirrored = resize(image[:, ::-1], (32, 256))[:, ::-1]
    assert np.abs(mirrored.astype(int) - resize(image, (32, 256))).max() <= 1


@pytest.mark.parametrize(
    ("image", "size", "said"),
    [
        (np.zeros((4, 4), np.float32), (2, 2), "uint8 or uint16"),
        (np.zeros((4, 4, 3, 1), np.uint8), (2, 2), "(H, W)"),
        (np.zeros((0, 4), np.uint8), (2, 2), "(0, 4)"),
        (np.zeros((4, 4), np.uint8), (0, 2), "at least 1"),
        (np.zeros((4, 4100), np.uint8), (4, 4), "1024"),
    ],
)
def test_what_cannot_be_resized_is_named(image: NDArray[np.generic], size: tuple[int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        resize(image, size)


def test_the_tensor_is_planes_of_rgb_less_128_over_128() -> None:
    frame = np.zeros((2, 2, 3), np.uint8)
    frame[0, 1] = (0, 128, 255)
    tensor = to_tensor(frame, (2, 2))
    assert tensor.shape == (1, 3, 2, 2)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert tensor[0, :, 0, 1].tolist() == [-1.0, 0.0, 127 / 128]


def test_one_channel_takes_the_luma() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    tensor = to_tensor(frame, (8, 8), channels=1)
    luma = [(77 * int(r) + 150 * int(g) + 29 * int(b) + 128) >> 8 for r, g, b in frame.reshape(-1, 3)]
    assert tensor.shape == (1, 1, 8, 8)
    assert (tensor.ravel() * 128 + 128).tolist() == luma


def test_luma_of_grey_is_the_grey_itself() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(grey(np.repeat(levels[:, :, None], 3, axis=2)), levels)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grey_frame_gives_what_its_rgb_copy_gives(channels: int) -> None:
    one = np.random.default_rng(0).integers(0, 256, (20, 30, 1), np.uint8)
    three = np.repeat(one, 3, axis=2)
    np.testing.assert_array_equal(
        to_tensor(one, (32, 32), channels=channels), to_tensor(three, (32, 32), channels=channels)
    )


@pytest.mark.parametrize(
    ("frame", "channels"),
    [(np.zeros((4, 4), np.uint8), 3), (np.zeros((4, 4, 3), np.float32), 3), (np.zeros((4, 4, 3), np.uint8), 2)],
)
def test_what_is_no_frame_is_refused(frame: NDArray[np.uint8], channels: int) -> None:
    with pytest.raises(ValueError, match=r"frame|channels"):
        to_tensor(frame, (4, 4), channels=channels)


def test_sigmoid_is_exact_where_exp_would_overflow() -> None:
    logits = np.array([-1e4, -88.8, 0.0, 20.0, 1e4], np.float32).reshape(1, 1, 1, 5)
    with np.errstate(over="raise", invalid="raise"):
        found = probabilities(logits)
    np.testing.assert_allclose(found.ravel(), [0, 2.7e-39, 0.5, 1, 1], atol=3e-9)
    assert found.dtype == np.float32


def test_softmax_sums_to_one_for_large_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 1e3, (2, 4, 3, 5)).astype(np.float32)
    found = probabilities(logits)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(axis=1), logits.argmax(axis=1))


def test_foreground_is_the_only_class_or_all_but_the_first() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    several = probabilities(logits)
    np.testing.assert_allclose(foreground(several), 1 - several[:, 0], atol=1e-6)
    one = probabilities(logits[:, :1])
    np.testing.assert_array_equal(foreground(one), one[:, 0])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_probabilities_at_their_own_size_move_by_half_a_step_at_most(h: int, w: int, seed: int) -> None:
    probability = np.random.default_rng(seed).random((h, w), np.float32)
    found = prob_to_size(probability, (h, w))
    assert np.abs(found - probability).max() <= 0.5 / 65535 + 1e-7
    np.testing.assert_array_equal(prob_to_size(found, (h, w)), found)


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_flat_probability_map_stays_flat_at_any_size(value: float) -> None:
    grown = prob_to_size(np.full((8, 8), value, np.float32), (33, 17))
    assert grown.shape == (33, 17)
    expected = Fraction(int(value * 65535 + 0.5), 65535)
    assert (grown == np.float32(float(expected))).all()


@pytest.mark.parametrize("bad", [np.nan, -0.01, 1.01, np.inf])
def test_values_that_are_no_probability_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        prob_to_size(np.array([[0.5, bad]], np.float32), (4, 4))


def test_the_threshold_itself_is_foreground() -> None:
    assert to_mask(np.array([[0.1, 0.3, 0.5]], np.float32), 0.3).tolist() == [[False, True, True]]


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 3)])
def test_labels_of_one_class_are_cut_at_the_threshold(shape: tuple[int, ...]) -> None:
    found = labels(np.array([0.2, 0.7, 0.9], np.float32).reshape(shape), 0.7)
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 1, 1]]


def test_labels_of_several_classes_are_the_most_probable_whatever_the_threshold() -> None:
    # The first pixel is background, although its foreground classes together are at 0.6.
    probability = np.array([[[0.4, 0.1, 0.3]], [[0.3, 0.1, 0.4]], [[0.3, 0.8, 0.3]]], np.float32)
    assert labels(probability, 0.5).tolist() == [[0, 2, 1]]


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3, 4), (0, 3, 3), (257, 1, 1)])
def test_what_gives_no_labels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="labels come from"):
        labels(np.zeros(shape, np.float32), 0.5)


def test_the_file_needs_nothing_but_numpy_and_the_standard_library() -> None:
    with open(processing.__file__, encoding="utf-8") as f:
        tree = ast.parse(f.read())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"numpy"}


@given(st.integers(0, 255), st.sampled_from([1, 3]))
def test_a_sample_is_the_same_number_in_every_type_that_a_file_takes(value: int, channels: int) -> None:
    frame = np.full((4, 5, 3), value, np.uint8)
    real, unsigned, signed = (to_input(frame, (2, 3), channels=channels, dtype=d) for d in ("float32", "uint8", "int8"))
    assert real.shape == unsigned.shape == signed.shape == (1, channels, 2, 3)
    assert (unsigned.dtype, signed.dtype) == (np.uint8, np.int8)
    assert (unsigned == value).all()
    assert (signed == value - 128).all()
    assert (real == np.float32((value - 128) / 128)).all()
    for dtype, expected in (("float32", real), ("uint8", unsigned), ("int8", signed)):
        found = stored(real, dtype)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_numbers_off_the_grid_go_to_the_nearest_sample_and_stay_inside() -> None:
    tensor = np.array([-2, -1, -0.996, 0.003, 0.005, 0.999, 2], np.float32)
    assert stored(tensor, "int8").tolist() == [-128, -128, -127, 0, 1, 127, 127]
    assert stored(tensor, "uint8").tolist() == [0, 0, 1, 128, 129, 255, 255]


def test_a_type_that_no_file_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="float32, uint8 or int8, got int16"):
        to_input(np.zeros((4, 4, 3), np.uint8), (2, 2), dtype="int16")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 40), st.integers(1, 40))
def test_class_numbers_are_taken_from_the_nearest_centre(h: int, w: int, height: int, width: int) -> None:
    numbers = np.arange(h * w, dtype=np.uint8).reshape(h, w)
    found = labels_to_size(numbers, (height, width))
    assert (found.dtype, found.shape) == (np.uint8, (height, width))

    def nearest(i: int, length: int, source: int) -> int:
        centre = Fraction(2 * i + 1, 2) * Fraction(source, length)
        return min(range(source), key=lambda j: (abs(Fraction(2 * j + 1, 2) - centre), -j))

    for y in {0, height // 2, height - 1}:
        for x in {0, width // 2, width - 1}:
            assert found[y, x] == numbers[nearest(y, height, h), nearest(x, width, w)]


def test_class_numbers_keep_their_size_and_mirror() -> None:
    numbers = np.random.default_rng(0).integers(0, 4, (7, 9), np.uint8)
    np.testing.assert_array_equal(labels_to_size(numbers, (7, 9)), numbers)
    np.testing.assert_array_equal(labels_to_size(numbers, (21, 27)), numbers.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize("numbers", [np.zeros((2, 2)), np.zeros((0, 2), np.uint8), np.zeros((1, 2, 2), np.uint8)])
def test_what_holds_no_class_numbers_is_refused(numbers: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="class numbers"):
        labels_to_size(numbers, (4, 4))


def test_class_numbers_of_a_batch_are_the_labels_of_each() -> None:
    rng = np.random.default_rng(0)
    for classes in (1, 3):
        batch = rng.uniform(0, 1, (2, classes, 5, 6)).astype(np.float32)
        found = class_numbers(batch, 0.4)
        assert (found.dtype, found.shape) == (np.uint8, (2, 1, 5, 6))
        for n in range(2):
            np.testing.assert_array_equal(found[n, 0], labels(batch[n], 0.4))


def test_probabilities_that_a_runtime_rounded_past_their_end_are_brought_back_and_others_refused() -> None:
    near = np.array([[[[-1e-6, 0.5, 1 + 1e-6]]]], np.float32)
    assert checked_probabilities(near).ravel().tolist() == [0, 0.5, 1]
    for bad in (1.01, -0.5, np.nan):
        with pytest.raises(ValueError, match="outside"):
            checked_probabilities(np.full((1, 1, 1, 1), bad, np.float32))
