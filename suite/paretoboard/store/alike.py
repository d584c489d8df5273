"""Whether two columns hold the same values, to the last bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def same_tables(left: pa.Table, right: pa.Table) -> bool:
    """Whether two tables have equal columns; a NaN equals one of the same bits, -0.0 is not 0.0."""
    if left.schema != right.schema or left.num_rows != right.num_rows:
        return False
    pairs = zip(left.itercolumns(), right.itercolumns(), strict=True)
    return all(same(one.combine_chunks(), other.combine_chunks()) for one, other in pairs)


def same(left: pa.Array, right: pa.Array) -> bool:
    """The same of two arrays; what lies in memory below a null does not count."""
    if left.type != right.type or len(left) != len(right) or not left.is_null().equals(right.is_null()):
        return False
    if pa.types.is_list(left.type):
        lengths = pc.list_value_length(left).equals(pc.list_value_length(right))
        return bool(lengths) and same(left.flatten(), right.flatten())
    if pa.types.is_struct(left.type):
        # flatten() carries a struct's nulls over to its fields.
        return all(same(one, other) for one, other in zip(left.flatten(), right.flatten(), strict=True))
    if pa.types.is_floating(left.type):
        return _bits(left) == _bits(right)
    return bool(left.equals(right))


def _bits(numbers: pa.Array) -> bytes:
    values = numbers.fill_null(0.0).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values).tobytes()
