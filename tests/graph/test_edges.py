from __future__ import annotations

import numpy as np
import pytest
from runtimes import run_litert, run_micro

from lawder_edge.bundle.processing import class_numbers, probabilities, to_input
from lawder_edge.errors import BadInput
from lawder_edge.graph.edges import with_float_output, with_input, with_mask, with_probabilities
from lawder_edge.graph.ir import Add, Array, DType, Graph, Op, Quantization, Tensor
from lawder_edge.graph.reference import run
from lawder_edge.graph.validate import validate

SIZE = (16, 24)
STEP = Quantization.of(1 / 128, 0)
LOGITS = Quantization.of(0.05, 3)
TAKEN: tuple[DType, ...] = ("float32", "uint8", "int8")


def graph(dtype: DType, classes: int = 3) -> Graph:
    """Logits are the samples plus a constant a channel: (1, 16, 24, classes) of (1, 16, 24, classes)."""
    shape = (1, *SIZE, classes)
    values = np.linspace(-0.5, 0.5, classes).astype(np.float32)
    is_int8 = dtype == "int8"
    shift = Tensor(
        "c", (classes,), dtype, STEP if is_int8 else None, np.rint(values * 128).astype(np.int8) if is_int8 else values
    )
    tensors = (
        Tensor("image", shape, dtype, STEP if is_int8 else None),
        shift,
        Tensor("logits", shape, dtype, LOGITS if is_int8 else None),
    )
    made = Graph("edges", tensors, (Op(Add(), ("image", "c"), ("logits",)),), ("image",), ("logits",))
    validate(made)
    return made


def sample(classes: int, dtype: str) -> Array:
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    planes = to_input(frame, SIZE, dtype=dtype)[:, :classes]
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("inside", ["float32", "int8"])
@pytest.mark.parametrize("classes", [1, 3])
def test_every_input_gives_what_the_graphs_own_gives(inside: DType, classes: int) -> None:
    plain = graph(inside, classes)
    (expected,) = run(plain, [sample(classes, inside)])
    for taken in TAKEN:
        changed = with_input(plain, taken)
        assert (changed.tensor("image").dtype, changed.outputs) == (taken, ("logits",))
        assert len(changed.ops) == len(plain.ops) + (taken != inside)
        np.testing.assert_array_equal(run(changed, [sample(classes, taken)])[0], expected)


@pytest.mark.parametrize("inside", ["float32", "int8"])
@pytest.mark.parametrize("taken", TAKEN)
def test_numpy_litert_and_tflm_agree_on_each_input(inside: DType, taken: DType) -> None:
    changed = with_input(graph(inside), taken)
    x = [sample(3, taken)]
    expected = run(changed, x)[0]
    np.testing.assert_array_equal(run_litert(changed, x), expected)
    np.testing.assert_array_equal(run_micro(changed, x), expected)


def test_numbers_between_two_steps_are_rounded_as_both_runtimes_do() -> None:
    changed = with_input(graph("int8"), "float32")
    x = np.random.default_rng(0).uniform(-1.1, 1.1, (1, *SIZE, 3)).astype(np.float32)
    x[0, 0] = (np.arange(-12, 12)[:, None] + np.float32(0.5)) / 128
    expected = run(changed, [x])[0]
    np.testing.assert_array_equal(run_litert(changed, [x]), expected)
    np.testing.assert_array_equal(run_micro(changed, [x]), expected)


@pytest.mark.parametrize("classes", [1, 3])
def test_probabilities_are_those_of_the_logits(classes: int) -> None:
    plain = graph("float32", classes)
    (logits,) = run(plain, [sample(classes, "float32")])
    changed = with_probabilities(plain)
    assert changed.outputs == ("probabilities",)
    expected = probabilities(logits.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(run(changed, [sample(classes, "float32")])[0], expected, atol=1e-6)
    np.testing.assert_allclose(run_litert(changed, [sample(classes, "float32")]), expected, atol=1e-6)


@pytest.mark.parametrize("classes", [1, 3])
def test_int8_probabilities_stand_at_a_256th_in_numpy_and_tflm(classes: int) -> None:
    changed = with_probabilities(graph("int8", classes))
    output = changed.tensor("probabilities")
    assert output.quantization == Quantization.of(1 / 256, -128)
    x = [sample(classes, "int8")]
    np.testing.assert_array_equal(run_micro(changed, x), run(changed, x)[0])
    (logits,) = run(graph("int8", classes), x)
    real = (np.float32(0.05) * (logits.astype(np.float32) - 3)).transpose(0, 3, 1, 2)
    found = (run(changed, x)[0].astype(np.float32) + 128) / 256
    assert np.abs(found - probabilities(real).transpose(0, 2, 3, 1)).max() <= 1.5 / 256


@pytest.mark.parametrize(("classes", "threshold"), [(1, 0.5), (1, 0.42), (3, 0.5)])
def test_a_mask_is_what_post_processing_makes_of_the_logits(classes: int, threshold: float) -> None:
    plain = graph("float32", classes)
    (logits,) = run(plain, [sample(classes, "float32")])
    expected = class_numbers(probabilities(logits.transpose(0, 3, 1, 2)), threshold).transpose(0, 2, 3, 1)
    changed = with_mask(plain, threshold)
    assert (changed.outputs, changed.tensor("mask").dtype) == (("mask",), "uint8")
    assert len(np.unique(expected)) == max(classes, 2)
    np.testing.assert_array_equal(run(changed, [sample(classes, "float32")])[0], expected)
    np.testing.assert_array_equal(run_litert(changed, [sample(classes, "float32")]), expected)


def test_tflm_still_casts_nothing_to_uint8() -> None:
    # If this fails, TFLM has learnt it, and int8 masks for tflite have lost the reason that they are refused for.
    changed = with_mask(graph("float32", 1), 0.5)
    with pytest.raises(RuntimeError):
        run_micro(changed, [sample(1, "float32")])


def test_a_mask_of_integers_is_refused() -> None:
    with pytest.raises(BadInput, match="--precision fp32"):
        with_mask(graph("int8"), 0.5)


def test_integers_are_given_as_the_real_numbers_that_they_stand_for() -> None:
    plain = graph("int8")
    changed = with_float_output(plain)
    assert (changed.outputs, changed.tensor("logits").dtype) == (("logits",), "float32")
    x = [sample(3, "int8")]
    expected = np.float32(0.05) * (run(plain, x)[0].astype(np.float32) - 3)
    np.testing.assert_array_equal(run(changed, x)[0], expected)
    np.testing.assert_array_equal(run_micro(changed, x), expected)
    assert with_float_output(graph("float32")).ops == graph("float32").ops


def test_a_conversion_that_no_kernel_has_is_refused_with_those_there_are() -> None:
    wrong = with_input(graph("int8"), "uint8")
    tensors = tuple(t if t.name != "image" else Tensor("image", t.shape, "int32") for t in wrong.tensors)
    with pytest.raises(BadInput, match="makes int8 of int32; wanted float32 to int8 or uint8 to int8"):
        validate(Graph("wrong", tensors, wrong.ops, wrong.inputs, wrong.outputs))
