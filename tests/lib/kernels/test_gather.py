"""The kernels that copy and convert data: gather, gather_slots, to_float, moments."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from pufferlib.kernels import _kernels
from pufferlib.ops import reference

DTYPES = (np.uint8, np.int8, np.int32, np.float32)


def filled(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Fill an array with distinct numbers, as far as the dtype allows."""
    numbers = np.random.default_rng(0).permutation(int(np.prod(shape))) - 20
    return numbers.reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("item", [(), (1,), (37,), (3, 2, 5)])
def test_rows_are_copied(dtype: Any, index_dtype: Any, item: tuple[int, ...]) -> None:
    pool = filled((6, 4, *item), dtype)
    rows = np.array([5, 0, 0, 3], index_dtype)
    same, converted = np.empty((4, 4, *item), dtype), np.empty((4, 4, *item), np.float32)
    _kernels.gather(pool, rows, same)
    _kernels.gather(pool, rows, converted, 0.1)
    assert_array_equal(same, pool[rows])
    assert_array_equal(converted, pool[rows].astype(np.float32) * np.float32(0.1))
    given = (torch.from_numpy(pool), torch.from_numpy(rows))
    assert_array_equal(same, reference.gather(*given, given[0].dtype))
    assert_array_equal(converted, reference.gather(*given, torch.float32, 0.1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("item", [(), (37,), (3, 2, 5)])
def test_slots_are_copied(dtype: Any, item: tuple[int, ...]) -> None:
    pool = filled((6, 4, *item), dtype)
    flat = pool.reshape(24, *item)
    slots = np.array([23, 0, 7, 7, 6])
    for source in (pool, flat):
        same, converted = np.empty((5, *item), dtype), np.empty((5, *item), np.float32)
        _kernels.gather_slots(source, slots, same)
        _kernels.gather_slots(source, slots, converted, 1 / 255)
        assert_array_equal(same, flat[slots])
        assert_array_equal(converted, flat[slots].astype(np.float32) * np.float32(1 / 255))


def test_float32_bits_are_kept_at_scale_one() -> None:
    pool = np.array([[0x7FC00001, 0x80000000, 0x00000001]], np.uint32).view(np.float32)
    out = np.empty((2, 3), np.float32)
    _kernels.gather(pool, np.zeros(2, np.int32), out)
    assert_array_equal(out.view(np.uint32), np.repeat(pool.view(np.uint32), 2, axis=0))


def test_bool_passes_for_uint8() -> None:
    pool = np.array([[True, False], [False, True]])
    out = np.empty((1, 2), np.uint8)
    _kernels.gather(pool, np.array([1]), out)
    assert out.tolist() == [[0, 1]]


def test_no_index_is_nothing_to_do() -> None:
    _kernels.gather(np.ones((3, 4), np.float32), np.zeros(0, np.int32), np.ones((0, 4), np.float32))


ROWS = np.zeros(2, np.int32)
FLOATS = np.zeros((3, 4, 5), np.float32)
BYTES = np.zeros((3, 4, 5), np.uint8)


@pytest.mark.parametrize(
    ("pool", "rows", "out", "scale", "error", "message"),
    [
        (FLOATS, ROWS, FLOATS, 1, ValueError, r"out: .*each of 2 rows.*\(3, 4, 5\)"),
        (
            FLOATS,
            ROWS,
            FLOATS[:2, 0].copy(),
            1,
            ValueError,
            r"out: .*got float32 of shape \(2, 5\)",
        ),
        (FLOATS, ROWS, BYTES[:2], 1, ValueError, r"out: expected float32, bfloat16 as uint16, or"),
        (BYTES, ROWS, BYTES[:2], 0.5, ValueError, r"out: .*scale 0\.5"),
        (
            FLOATS.astype(float),
            ROWS,
            FLOATS[:2],
            1,
            ValueError,
            r"pool: expected uint8.*float64",
        ),
        (FLOATS[:, :, ::2], ROWS, FLOATS[:2], 1, ValueError, r"pool: not C-contiguous"),
        (FLOATS, ROWS.astype(float), FLOATS[:2], 1, ValueError, r"rows: expected int32 or int64"),
        (FLOATS, ROWS[None], FLOATS[:2], 1, ValueError, r"rows: .*one dimension"),
        (FLOATS, ROWS + 3, FLOATS[:2], 1, IndexError, r"rows\[0\] = 3 is outside \[0, 3\)"),
        (FLOATS, ROWS - 1, FLOATS[:2], 1, IndexError, r"rows\[0\] = -1 is outside \[0, 3\)"),
        (FLOATS, [0, 1], FLOATS[:2], 1, TypeError, r"rows: expected a numpy array, got list"),
    ],
)
def test_bad_arrays_are_named(
    pool: Any, rows: Any, out: Any, scale: float, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _kernels.gather(pool, rows, out, scale)


def test_a_read_only_out_is_refused() -> None:
    out = np.zeros((2, 4, 5), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"out: .*read-only"):
        _kernels.gather(FLOATS, ROWS, out)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_input_is_converted_to_floats_where_it_lies(dtype: Any) -> None:
    wide, out = filled((7, 5, 6), dtype), np.full((7, 6), np.nan, np.float32)
    given = _kernels.GraphInput(7, 6, wide.dtype)
    given.bind(wide[:, 3])
    _kernels.to_float(input=given, out=out)
    assert_array_equal(out, wide[:, 3].astype(np.float32))


def test_what_cannot_be_bound_is_named() -> None:
    given, out = _kernels.GraphInput(2, 3, "uint8"), np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="no array was bound"):
        _kernels.to_float(input=given, out=out)
    for array, message in (
        (np.zeros((2, 3), np.int32), r"expected uint8 or bool of shape \(2, 3\), got int32"),
        (np.zeros((3, 3), np.uint8), r"got uint8 or bool of shape \(3, 3\)"),
        (np.zeros((2, 6), np.uint8)[:, ::2], "its rows are not contiguous"),
    ):
        with pytest.raises(ValueError, match=message):
            given.bind(array)


@pytest.mark.parametrize("width", [1, 15, 16, 64, 70])
def test_moments_of_rows_are_numpys(width: int) -> None:
    pool = np.random.default_rng(width).normal(3, 2, (9, width)).astype(np.float32)
    rows = np.array([8, 0, 3, 3], np.int32)
    taken = pool[rows].astype(np.float64)
    assert_allclose(_kernels.moments(pool, rows), (taken.mean(), taken.std()), rtol=1e-12)
    with pytest.raises(IndexError, match=r"rows\[1\] = 9 is outside \[0, 9\)"):
        _kernels.moments(pool, np.array([0, 9], np.int32))
    with pytest.raises(ValueError, match="no slots to take the mean of"):
        _kernels.moments(pool, rows[:0])
