// Where the pixels of a picture go on their way to the network. The normative text is seg_core/geometry.py; "rounded"
// is to the nearest integer with halves up, computed in integers, so that every language agrees.
package segproof

/** Height and width in pixels. */
public data class Size(val height: Int, val width: Int) {
    override fun toString(): String = "${height}x$width"
}

/** A rectangle: rows `top` until `top + height`, columns `left` until `left + width`. */
public data class Rect(val top: Int, val left: Int, val height: Int, val width: Int) {
    /** Its height and width. */
    public val size: Size get() = Size(height, width)

    override fun toString(): String = "$top,$left,$height,$width"
}

/**
 * The way of one picture: [box] of the source was resized to the size of [content], a rectangle of the network's
 * canvas of [size]; the rest of the canvas is padding.
 */
public data class Geometry(val source: Size, val box: Rect, val content: Rect, val size: Size) {
    public companion object {
        /**
         * Plan where a picture of [source] goes; without [roi] all of it is used.
         * Raises [ImageException] when [roi] is empty or reaches beyond the picture.
         */
        public fun plan(source: Size, spec: PreprocessSpec, roi: Rect? = null): Geometry {
            var box = roi ?: Rect(0, 0, source.height, source.width)
            val inside = box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 &&
                box.top.toLong() + box.height <= source.height && box.left.toLong() + box.width <= source.width
            if (!inside) {
                throw ImageException("region $box (top,left,height,width) is not inside the picture of $source (HxW)")
            }
            val size = spec.size
            if (spec.resize == ResizePolicy.CENTER_CROP) box = cropToAspect(box, size)
            val fitted = if (spec.resize == ResizePolicy.LETTERBOX) fitInside(box.size, size) else size
            val top = (size.height - fitted.height) / 2
            val left = (size.width - fitted.width) / 2
            return Geometry(source, box, Rect(top, left, fitted.height, fitted.width), size)
        }

        private fun roundRatio(numerator: Long, denominator: Int): Int =
            ((2 * numerator + denominator) / (2L * denominator)).toInt()

        private fun heightLimits(region: Size, size: Size): Boolean =
            region.height.toLong() * size.width >= region.width.toLong() * size.height

        private fun fitInside(region: Size, size: Size): Size {
            val (h, w) = region
            if (heightLimits(region, size)) {
                return Size(size.height, maxOf(1, roundRatio(w.toLong() * size.height, h)))
            }
            return Size(maxOf(1, roundRatio(h.toLong() * size.width, w)), size.width)
        }

        private fun cropToAspect(box: Rect, size: Size): Rect {
            val (h, w) = box.size
            val cut = if (heightLimits(box.size, size)) {
                Size(minOf(h, maxOf(1, roundRatio(w.toLong() * size.height, size.width))), w)
            } else {
                Size(h, minOf(w, maxOf(1, roundRatio(h.toLong() * size.width, size.height))))
            }
            return Rect(box.top + (h - cut.height) / 2, box.left + (w - cut.width) / 2, cut.height, cut.width)
        }
    }
}
