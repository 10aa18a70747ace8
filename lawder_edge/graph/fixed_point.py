"""TFLite's fixed-point numbers in numpy: multipliers with double rounding, and gemmlowp's exp, reciprocal and logistic.

All integers are int64 arrays that hold int32 values, saturated where the C++ saturates. Sources of the semantics:
gemmlowp (fixedpoint.h: https://github.com/google/gemmlowp) and the TFLite 8-bit quantisation specification
(https://ai.google.dev/edge/litert/models/quantization_spec); equality with both runtimes is what the tests hold.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]
INT32_MAX, INT32_MIN = 2**31 - 1, -(2**31)
# exp(-2^i) as raw Q0.31 for i from -2 up.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_MINUS_EIGHTH, _ONE_THIRD = 1895147668, 715827883
_48_OVER_17, _MINUS_32_OVER_17 = 1515870810, -1010580540


class Multiplier(NamedTuple):
    """real = value * 2^shift / 2^31, value in [2^30, 2^31) or 0."""

    value: int
    shift: int


def round_away(x: float) -> int:
    """To the nearest integer, halves away from zero, as C's round."""
    return math.floor(abs(x) + 0.5) * (1 if x >= 0 else -1)


def multiplier_of(real: float) -> Multiplier:
    """The nearest multiplier of a non-negative number below 2^30; 0 for one below 2^-32."""
    if real == 0:
        return Multiplier(0, 0)
    fraction, shift = math.frexp(real)
    value = round_away(fraction * 2**31)
    if value == 2**31:
        value, shift = value // 2, shift + 1
    return Multiplier(0, 0) if shift < -31 else Multiplier(value, shift)


def mean_multiplier(real: float, count: int) -> Multiplier:
    """A multiplier divided by a count, with as many bits as fit, as TFLite folds the two."""
    m = multiplier_of(real)
    shift = min(count.bit_length() - 1, 32, 31 + m.shift)
    return Multiplier((m.value << shift) // count, m.shift - shift)


def doubling_high_mul(a: Integers, b: Integers | int) -> Integers:
    """(a * b + half) / 2^31, halves away from zero, -2^31 * -2^31 saturated."""
    product = a * np.int64(b) if isinstance(b, int) else a * b
    nudged = product + np.where(product >= 0, 2**30, 1 - 2**30)
    # C++ divides towards zero, numpy's shift floors.
    return np.minimum(np.where(nudged >= 0, nudged >> 31, -((-nudged) >> 31)), INT32_MAX)


def divide_by_power_of_two(x: Integers, exponent: Integers | int) -> Integers:
    """x / 2^exponent, halves away from zero."""
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + ((x & mask) > threshold)


def rescale(x: Integers, value: Integers | int, shift: Integers | int) -> Integers:
    """x times a multiplier, rounded twice: after the product and after the shift. Broadcasts over channels."""
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return divide_by_power_of_two(doubling_high_mul(_wrap(x << left), value), right)


def saturating_shift_left(x: Integers, exponent: int) -> Integers:
    return np.asarray(np.clip(x << exponent, INT32_MIN, INT32_MAX))


def exp_of_negative(a: Integers, integer_bits: int) -> Integers:
    """exp(a) as raw Q0.31, for a <= 0 with `integer_bits` (at most 5) before the point."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    a_mod_quarter = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(saturating_shift_left(a_mod_quarter, integer_bits))
    remainder = a_mod_quarter - a
    for i, factor in enumerate(_EXP_OF_POWERS[: integer_bits + 2]):
        result = np.where(remainder & (quarter << i), doubling_high_mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def reciprocal_of_one_plus(a: Integers) -> Integers:
    """1 / (1 + a) as raw Q0.31, for a in [0, 1] as raw Q0.31: three Newton steps."""
    total = a + INT32_MAX
    half_denominator = (total + np.where(total >= 0, 1, -1)) // 2
    x = _48_OVER_17 + doubling_high_mul(half_denominator, _MINUS_32_OVER_17)
    for _ in range(3):
        missing = (1 << 29) - doubling_high_mul(half_denominator, x)
        x = x + saturating_shift_left(doubling_high_mul(x, missing), 2)
    return saturating_shift_left(x, 1)


def logistic(a: Integers, integer_bits: int) -> Integers:
    """1 / (1 + exp(-a)) as raw Q0.31, for a with `integer_bits` (at most 5) before the point."""
    of_positive = reciprocal_of_one_plus(exp_of_negative(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, of_positive, INT32_MAX - of_positive))


def input_radius(integer_bits: int, shift: int) -> int:
    """The largest int8 difference that a number with `integer_bits` before the point can hold after `shift`."""
    return math.floor(((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / 2.0**shift)


def _exp_near_zero(a: Integers) -> Integers:
    """exp(a) for a in [-1/4, 0) as raw Q0.31: a Taylor polynomial around -1/8."""
    x = a + (1 << 28)
    x2 = doubling_high_mul(x, x)
    x3, x4 = doubling_high_mul(x2, x), doubling_high_mul(x2, x2)
    cubic = doubling_high_mul(divide_by_power_of_two(x4, 2) + x3, _ONE_THIRD)
    rest = divide_by_power_of_two(cubic + x2, 1)
    scale = np.full_like(a, _EXP_MINUS_EIGHTH)
    return _EXP_MINUS_EIGHTH + doubling_high_mul(scale, x + rest)


def _wrap(x: Integers) -> Integers:
    """To int32, as C's unsigned shift does."""
    return x.astype(np.int32).astype(np.int64)
