package segproof

/** Order of the bytes of one pixel. */
public enum class PixelOrder(
    internal val red: Int,
    internal val green: Int,
    internal val blue: Int,
    /** Bytes a pixel. */
    public val stride: Int,
) {
    BGR(2, 1, 0, 3),
    RGB(0, 1, 2, 3),
    RGBA(0, 1, 2, 4),
    BGRA(2, 1, 0, 4),
}

/**
 * A picture of 8-bit samples: one Int 0xAARRGGBB a pixel, row by row, as `Bitmap.getPixels` writes them.
 *
 * Alpha is carried but means nothing. The array is neither copied nor changed.
 * Raises [ImageException] when there are no pixels or not `height * width` of them.
 */
public class Picture(public val argb: IntArray, public val height: Int, public val width: Int) {
    init {
        if (height < 1 || width < 1 || argb.size.toLong() != height.toLong() * width) {
            throw ImageException("picture: ${argb.size} pixels are not ${height}x$width (height x width)")
        }
    }

    public companion object {
        /** Make a picture of bytes, row by row without gaps; raises [ImageException] when their number is another. */
        public fun ofBytes(bytes: ByteArray, height: Int, width: Int, order: PixelOrder): Picture {
            if (height < 1 || width < 1 || bytes.size.toLong() != height.toLong() * width * order.stride) {
                throw ImageException("picture: ${bytes.size} bytes are not ${height}x$width in $order")
            }
            val argb = IntArray(height * width)
            var from = 0
            for (i in argb.indices) {
                val red = bytes[from + order.red].toInt() and 255
                val green = bytes[from + order.green].toInt() and 255
                val blue = bytes[from + order.blue].toInt() and 255
                argb[i] = (255 shl 24) or (red shl 16) or (green shl 8) or blue
                from += order.stride
            }
            return Picture(argb, height, width)
        }
    }
}
