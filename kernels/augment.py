"""Pictures changed a little each time they are trained on: mirrored and shifted, drawn by counters.

A batch's rows are copied, changed, into a batch of their own in the type they have (a uint8 stays one), which the
gather then reads. What happens to a picture is a function of (key, sample) alone, so it does not depend on the ranks.
"""

import numpy as np

from .compiler import kernel
from .lanes import FLOAT64, UINT8
from .pointwise import hash32
from .vector import load_f32, load_f64, load_i64, load_u8, store_f32, store_f64, store_u8


@kernel
def _reflect(i, n):
    """The index of a line of n that is mirrored at both ends: -1 is 1 again, and n is n - 2."""
    i = -i if i < 0 else i
    return 2 * n - 2 - i if i >= n else i


@kernel
def _copy(dtype, dst, src, count, step):
    """count elements one after the other from src, which goes up (step 1) or down (-1)."""
    if dtype == UINT8:
        for i in range(count):
            store_u8(dst + i, load_u8(src + step * i))
    elif dtype == FLOAT64:
        for i in range(count):
            store_f64(dst + 8 * i, load_f64(src + 8 * step * i))
    else:
        for i in range(count):
            store_f32(dst + 4 * i, load_f32(src + 4 * step * i))


@kernel
def augment(data, dtype, row_stride, places, index, rows, key, shape, out, rank, size):
    """out[i] = the picture data[places[i]], mirrored with probability 1/2 and shifted by up to `shift` pixels each way.

    index: the samples' numbers, which decide what happens to them. shape: five int64: channels, height, width, whether
    to mirror, shift (less than height and width). What a shift uncovers shows the picture reflected at its edge. A rank
    takes a share of the rows.
    """
    channels, height, width = load_i64(shape), load_i64(shape + 8), load_i64(shape + 16)
    mirror, shift = load_i64(shape + 24), load_i64(shape + 32)
    itemsize = 1 if dtype == UINT8 else (8 if dtype == FLOAT64 else 4)
    for i in range(rows * rank // size, rows * (rank + 1) // size):
        place, sample = load_i64(places + 8 * i), load_i64(index + 8 * i)
        bits = np.int64(hash32(hash32(np.uint32(key)) ^ np.uint32(sample)))
        step = -1 if mirror != 0 and bits & 1 != 0 else 1
        dx = (bits >> 1) % (2 * shift + 1) - shift
        dy = (bits >> 12) % (2 * shift + 1) - shift
        # columns [lo, hi) of the result lie inside the picture; the few others are reflections
        lo, hi = max(0, -dx), min(width, width - dx)
        for line in range(channels * height):
            c, y = line // height, line % height
            src = data + place * row_stride + (c * height + _reflect(y + dy, height)) * width * itemsize
            dst = out + (i * channels * height + line) * width * itemsize
            for edge in range(lo + width - hi):
                x = edge if edge < lo else edge + hi - lo
                from_x = _reflect(x + dx, width)
                from_x = from_x if step > 0 else width - 1 - from_x
                _copy(dtype, dst + x * itemsize, src + from_x * itemsize, 1, 1)
            start = lo + dx if step > 0 else width - 1 - (lo + dx)
            _copy(dtype, dst + lo * itemsize, src + start * itemsize, hi - lo, step)
