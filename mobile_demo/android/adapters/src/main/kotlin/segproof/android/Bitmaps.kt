// Runs in an Android project only. Here it is compiled against declarations/, by build.sh.
package segproof.android

import android.graphics.Bitmap
import segproof.Picture
import segproof.Segmentation

/** Return the bitmap's pixels; of a hardware bitmap, a copy in software is made. */
public fun Bitmap.toPicture(): Picture {
    val readable = if (config == Bitmap.Config.HARDWARE) copy(Bitmap.Config.ARGB_8888, false) else this
    val argb = IntArray(width * height)
    readable.getPixels(argb, 0, width, 0, 0, width, height)
    return Picture(argb, height, width)
}

/** Return the labels as a bitmap to draw over the picture; see [Segmentation.paint]. */
public fun Segmentation.toBitmap(palette: List<Int>, alpha: Int, hidden: Set<Int> = emptySet()): Bitmap =
    Bitmap.createBitmap(paint(palette, alpha, hidden), size.width, size.height, Bitmap.Config.ARGB_8888)
