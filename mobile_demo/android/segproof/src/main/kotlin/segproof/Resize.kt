// The two ways of resizing of the contract, integer for integer as in seg_core/reference.py, and the 2x2 reduction.
package segproof

/** A rectangle of 0xAARRGGBB pixels inside an array whose rows are [stride] long; nothing is copied to cut it out. */
internal class Region(val argb: IntArray, val stride: Int, val rect: Rect) {
    fun rowStart(y: Int): Int = (rect.top + y) * stride + rect.left
}

/** Interleaved blue, green, red bytes of the network's size. */
internal class Canvas(val bgr: ByteArray, val size: Size)

/** For each target pixel of one axis the two source indices, and the weight (0..256) of the second. */
private class LinearAxis(source: Int, target: Int) {
    val first = IntArray(target)
    val second = IntArray(target)
    val weight = IntArray(target)

    init {
        val scale = 1.0 / (target.toDouble() / source)
        for (d in 0 until target) {
            val position = scale * (d + 0.5) - 0.5
            val index = Math.floor(position)
            val inside = index >= 0 && index < source - 1
            first[d] = index.toInt().coerceIn(0, source - 1)
            second[d] = minOf(first[d] + 1, source - 1)
            weight[d] = if (inside) Math.rint((position - index) * 256.0).toInt() else 0
        }
    }
}

/** The source index of each target pixel of one axis. */
private fun nearestAxis(source: Int, target: Int): IntArray {
    val scale = 1.0 / (target.toDouble() / source)
    return IntArray(target) { d -> minOf(Math.floor(d * scale).toInt(), source - 1) }
}

/** Average 2x2 blocks while both sides are at least twice the target; an odd last row or column is dropped. */
internal fun halve(region: Region, target: Size): Region {
    var current = region
    while (current.rect.height >= 2 * target.height && current.rect.width >= 2 * target.width) {
        val height = current.rect.height / 2
        val width = current.rect.width / 2
        val half = IntArray(height * width)
        for (y in 0 until height) {
            var p = current.rowStart(2 * y)
            for (x in 0 until width) {
                half[y * width + x] = averageFour(current.argb, p, current.stride)
                p += 2
            }
        }
        current = Region(half, width, Rect(0, 0, height, width))
    }
    return current
}

private fun averageFour(argb: IntArray, p: Int, stride: Int): Int {
    val a = argb[p]
    val b = argb[p + 1]
    val c = argb[p + stride]
    val d = argb[p + stride + 1]
    // Red and blue share one addition: sixteen bits apart, sums of four bytes do not meet.
    val redBlue = (a and RED_BLUE) + (b and RED_BLUE) + (c and RED_BLUE) + (d and RED_BLUE) + 0x00020002
    val green = (a and GREEN) + (b and GREEN) + (c and GREEN) + (d and GREEN) + 0x00000200
    return ((redBlue ushr 2) and RED_BLUE) or ((green ushr 2) and GREEN)
}

private const val RED_BLUE = 0x00FF00FF
private const val GREEN = 0x0000FF00

/** Resize by LINEAR_EXACT into [content] of the canvas: 8.8 fixed point across, 8.16 down, `(v + 32768) >> 16`. */
internal fun resizeLinearExact(region: Region, canvas: Canvas, content: Rect) {
    val across = LinearAxis(region.rect.width, content.width)
    val down = LinearAxis(region.rect.height, content.height)
    // Rows are needed in rising order, two at a time: each source row is resized across once.
    var upper = IntArray(content.width * 3)
    var lower = IntArray(content.width * 3)
    var upperIndex = -1
    var lowerIndex = -1
    for (y in 0 until content.height) {
        if (down.first[y] == lowerIndex) {
            upper = lower.also { lower = upper }
            upperIndex = lowerIndex.also { lowerIndex = upperIndex }
        } else if (down.first[y] != upperIndex) {
            resizeRow(region, down.first[y], across, upper)
            upperIndex = down.first[y]
        }
        if (down.second[y] != lowerIndex) {
            resizeRow(region, down.second[y], across, lower)
            lowerIndex = down.second[y]
        }
        val b = down.weight[y]
        val a = 256 - b
        val start = ((content.top + y) * canvas.size.width + content.left) * 3
        for (i in upper.indices) canvas.bgr[start + i] = ((upper[i] * a + lower[i] * b + 32768) shr 16).toByte()
    }
}

private fun resizeRow(region: Region, y: Int, across: LinearAxis, out: IntArray) {
    val argb = region.argb
    val start = region.rowStart(y)
    var i = 0
    for (x in across.weight.indices) {
        val p = argb[start + across.first[x]]
        val q = argb[start + across.second[x]]
        val b = across.weight[x]
        val a = 256 - b
        out[i++] = (p and 255) * a + (q and 255) * b
        out[i++] = (p shr 8 and 255) * a + (q shr 8 and 255) * b
        out[i++] = (p shr 16 and 255) * a + (q shr 16 and 255) * b
    }
}

/** Resize by NEAREST into [content] of the canvas. */
internal fun resizeNearest(region: Region, canvas: Canvas, content: Rect) {
    val rows = nearestAxis(region.rect.height, content.height)
    val columns = nearestAxis(region.rect.width, content.width)
    for (y in 0 until content.height) {
        val start = region.rowStart(rows[y])
        var to = ((content.top + y) * canvas.size.width + content.left) * 3
        for (x in 0 until content.width) {
            val p = region.argb[start + columns[x]]
            canvas.bgr[to++] = p.toByte()
            canvas.bgr[to++] = (p shr 8).toByte()
            canvas.bgr[to++] = (p shr 16).toByte()
        }
    }
}

/** Resize rectangle [from] of a label map, whose rows are [stride] long, by NEAREST into [to] of another one. */
internal fun copyNearest(labels: ByteArray, stride: Int, from: Rect, out: ByteArray, outStride: Int, to: Rect) {
    val rows = nearestAxis(from.height, to.height)
    val columns = nearestAxis(from.width, to.width)
    for (x in columns.indices) columns[x] += from.left
    for (y in 0 until to.height) {
        val start = (to.top + y) * outStride + to.left
        if (y > 0 && rows[y] == rows[y - 1]) {
            out.copyInto(out, start, start - outStride, start - outStride + to.width)
            continue
        }
        val source = (from.top + rows[y]) * stride
        for (x in 0 until to.width) out[start + x] = labels[source + columns[x]]
    }
}
