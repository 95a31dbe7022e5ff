"""Pictures changed at random: mirrored, moved, rotated, zoomed, and a square cut out, as a batch is gathered.

What happens to a picture is a function of the batch's key and the picture's number. All is computed by whole numbers
and exactly rounded operations, so that every machine makes the same pictures.
"""

import numpy as np

from .compiler import kernel
from .emit import load_f32, load_f64, load_i64, load_u8, store_f32, store_f64, store_i64, store_u8
from .operation import array, operation, rows_of
from .random import batch_key, hash32


@kernel
def _copy(itemsize, dst, src, count, step):
    """count elements of 1, 4 or 8 bytes one after the other from src, which goes up (step 1) or down (-1)."""
    if itemsize == 1:
        for i in range(count):
            store_u8(dst + i, load_u8(src + step * i))
    elif itemsize == 8:
        for i in range(count):
            store_i64(dst + 8 * i, load_i64(src + 8 * step * i))
    else:
        for i in range(count):
            store_f32(dst + 4 * i, load_f32(src + 4 * step * i))


@kernel
def _value(itemsize, at):
    """A number of 1, 4 or 8 bytes."""
    if itemsize == 1:
        return np.float64(load_u8(at))
    return load_f64(at) if itemsize == 8 else np.float64(load_f32(at))


@kernel
def _store(itemsize, at, value):
    if itemsize == 1:
        store_u8(at, np.uint8(value + 0.5))
    elif itemsize == 8:
        store_f64(at, value)
    else:
        store_f32(at, np.float32(value))


@kernel
def _move(itemsize, dst, src, channels, height, width, lines, columns, margin, step, dx, dy):
    """A picture moved by whole pixels, and mirrored if step is -1."""
    # columns [lo, hi) of the result lie inside the picture; the few others are reflections
    lo, hi = max(0, -dx), min(width, width - dx)
    for line in range(channels * height):
        c, y = line // height, line % height
        source = src + c * height * width * itemsize + load_i64(lines + 8 * (y + dy + margin))
        to = dst + line * width * itemsize
        for edge in range(lo + width - hi):
            x = edge if edge < lo else edge + hi - lo
            from_x = x + dx if step > 0 else width - 1 - (x + dx)
            _copy(itemsize, to + x * itemsize, source + load_i64(columns + 8 * (from_x + margin)), 1, 1)
        start = lo + dx if step > 0 else width - 1 - (lo + dx)
        _copy(itemsize, to + lo * itemsize, source + start * itemsize, hi - lo, step)


@kernel
def _wave(x, start):
    """sin x with start 1, or cos x with start 0, for |x| <= 2 pi, by its series: libraries differ."""
    term = total = x if start == 1 else 1.0
    for k in range(start + 1, start + 35, 2):
        term *= -x * x / (k * (k + 1))
        total += term
    return total


@kernel
def _even(bits):
    """A number from -1 to 1, evenly distributed, from 32 random bits."""
    return np.float64(bits) / 2147483648.0 - 1.0


@kernel
def _draw(bits, number):
    """32 more random bits of a picture; numbers count from 1."""
    return hash32(bits ^ np.uint32(np.uint32(0x9E3779B9) * np.uint32(number)))


@kernel
def _fixed(x):
    """A number of pixels in units of 2^-16, rounded to the nearest."""
    return np.int64(x * 65536.0 + 4194304.5) - 4194304  # whole numbers of int64 are rounded towards 0


@kernel
def _between_bytes(a, b, c, d, right, down):
    """Of four neighbours, at their addresses, what lies so many 256ths to the right and down."""
    upper = (np.int64(load_u8(a)) << 8) + (np.int64(load_u8(b)) - np.int64(load_u8(a))) * right
    lower = (np.int64(load_u8(c)) << 8) + (np.int64(load_u8(d)) - np.int64(load_u8(c))) * right
    return np.uint8(((upper << 8) + (lower - upper) * down + 32768) >> 16)


@kernel
def _between(itemsize, a, b, c, d, right, down):
    """The same of numbers of 4 or 8 bytes."""
    across, along = right / 256.0, down / 256.0
    upper = _value(itemsize, a) * (1.0 - across) + _value(itemsize, b) * across
    lower = _value(itemsize, c) * (1.0 - across) + _value(itemsize, d) * across
    return upper * (1.0 - along) + lower * along


@kernel
def _warp(itemsize, dst, src, channels, height, width, lines, columns, margin, step, dx, dy, bits, rotate, zoom):
    """A picture rotated, zoomed and stretched about its centre, moved, and mirrored if step is -1.

    Each pixel is what lies at its place between four of the picture's, by bilinear interpolation with weights in units
    of 1/256. Places are counted in units of 2^-17 pixels.
    """
    angle, size = _even(_draw(bits, 1)) * rotate, 1.0 + _even(_draw(bits, 2)) * zoom
    stretch = 1.0 + _even(_draw(bits, 3)) * zoom / 2.0
    across, down, cosine, sine = size * stretch, size / stretch, _wave(angle, 0), _wave(angle, 1)
    xx, xy = step * _fixed(cosine * across), step * _fixed(-sine * down)
    yx, yy = _fixed(sine * across), _fixed(cosine * down)
    from_x = ((width - 1 + 2 * step * dx) << 16) + xx * (1 - width)
    from_y = ((height - 1 + 2 * dy) << 16) + yx * (1 - width)
    plane = height * width * itemsize
    for y in range(height):
        fx, fy = from_x + xy * (2 * y + 1 - height), from_y + yy * (2 * y + 1 - height)
        to = dst + y * width * itemsize
        for x in range(width):
            right, below = columns + 8 * ((fx >> 17) + margin), lines + 8 * ((fy >> 17) + margin)
            wx, wy, at = (fx >> 9) & 255, (fy >> 9) & 255, to + x * itemsize
            y0, y1, x0, x1 = src + load_i64(below), src + load_i64(below + 8), load_i64(right), load_i64(right + 8)
            if itemsize == 1:
                for c in range(0, channels * plane, plane):
                    store_u8(at + c, _between_bytes(y0 + x0 + c, y0 + x1 + c, y1 + x0 + c, y1 + x1 + c, wx, wy))
            else:
                for c in range(0, channels * plane, plane):
                    value = _between(itemsize, y0 + x0 + c, y0 + x1 + c, y1 + x0 + c, y1 + x1 + c, wx, wy)
                    _store(itemsize, at + c, value)
            fx, fy = fx + 2 * xx, fy + 2 * yx


@kernel
def _sum(itemsize, at, count):
    if itemsize == 1:
        whole = 0
        for i in range(count):
            whole += np.int64(load_u8(at + i))
        return np.float64(whole)
    total = 0.0
    for i in range(count):
        total += _value(itemsize, at + i * itemsize)
    return total


@kernel
def _cut_out(itemsize, at, channels, height, width, side, bits):
    """Let a square of a picture, which may lie partly outside, be the mean of each channel."""
    rows, columns = np.int64(_draw(bits, 4)), np.int64(_draw(bits, 5))
    top, left = rows % (height + side - 1) - side + 1, columns % (width + side - 1) - side + 1
    for c in range(channels):
        plane = at + c * height * width * itemsize
        mean = _sum(itemsize, plane, height * width) / (height * width)
        for y in range(max(0, top), min(height, top + side)):
            for x in range(max(0, left), min(width, left + side)):
                _store(itemsize, plane + (y * width + x) * itemsize, mean)


def _pictures(fields, rows):
    return rows * fields["row_bytes"]


def _line(dimension):
    return lambda fields, rows: int(fields["shape"][dimension]) + 2 * fields["margin"]


@operation
def augment(
    data: rows_of(np.uint8, np.float32, np.float64), row_stride, row_bytes, keys: array(np.int64),
    shape: array(np.int64, 3), mirror, shift, warp: array(np.float64, 2), lines: array(np.int64, _line(1)),
    columns: array(np.int64, _line(2)), margin, cutout, out: array(np.uint8, _pictures),
    places: array(np.int64, lambda _, rows: rows, optional=True), /, index, rows, epoch, number, thread, threads,
):  # fmt: skip
    """out[i] = the picture data[index[i]], changed at random.

    Mirrored with probability 1/2, rotated and zoomed, moved by up to `shift` pixels each way, and a square cut out. The
    numbers in index decide what happens to a picture, also where `places` says where its row is. shape: channels,
    height, width. shift: less than height and width. warp: the largest rotation in radians, and the largest share by
    which it is zoomed. lines, columns: where the line or column that is seen in a place begins, in bytes, for places
    from `margin` outside the picture on: what comes in at the edges is the picture reflected. cutout: the side of the
    square, 0 for none. out: the rows in the type that they have. A thread takes a share of the rows.
    """
    channels, height, width = load_i64(shape), load_i64(shape + 8), load_i64(shape + 16)
    rotate, zoom = load_f64(warp), load_f64(warp + 8)
    itemsize = row_bytes // (channels * height * width)
    key, names = hash32(batch_key(keys, epoch, number)), places if places != 0 else index
    for i in range(rows * thread // threads, rows * (thread + 1) // threads):
        place, sample = load_i64(names + 8 * i), load_i64(index + 8 * i)
        own = hash32(key ^ np.uint32(sample))
        bits, src, dst = np.int64(own), data + place * row_stride, out + i * row_bytes
        step = -1 if mirror != 0 and bits & 1 != 0 else 1
        dx = (bits >> 1) % (2 * shift + 1) - shift
        dy = (bits >> 12) % (2 * shift + 1) - shift
        seen = (itemsize, dst, src, channels, height, width, lines, columns, margin, step, dx, dy)
        if rotate > 0.0 or zoom > 0.0:
            _warp(*seen, own, rotate, zoom)
        else:
            _move(*seen)
        if cutout > 0:
            _cut_out(itemsize, dst, channels, height, width, cutout, own)
