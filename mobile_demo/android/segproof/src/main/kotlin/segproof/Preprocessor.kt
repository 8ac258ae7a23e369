// The preprocessing contract: a picture in, the network's input tensor out, bit for bit as seg_core/reference.py.
package segproof

/** A tensor for the network, and where its pixels come from. */
public class Prepared(public val tensor: Values, public val geometry: Geometry)

/** Makes input tensors (a batch of one, in the layout and type of [spec]). May be used from several threads. */
public class Preprocessor(public val spec: PreprocessSpec) {
    /** What each of the 256 byte values becomes in each channel; null where the bytes pass as they are. */
    private val tables: List<FloatArray>? = when (spec.dtype) {
        InputType.UINT8 -> null
        InputType.FLOAT32 -> List(spec.channels) { channel -> normalised(channel) }
    }

    private val priorTable = ByteArray(256).also { table ->
        spec.priorValues.forEachIndexed { label, value -> table[label] = value.toByte() }
    }

    /**
     * Make the tensor of [picture], or of its region [roi].
     *
     * [recall] is asked for the labels of the previous frame at the network's size, for contracts with a prior;
     * without it nothing is known. Raises [ImageException] when [roi] reaches beyond the picture.
     */
    public fun prepare(picture: Picture, roi: Rect? = null, recall: (Geometry) -> ByteArray? = { null }): Prepared {
        val geometry = Geometry.plan(Size(picture.height, picture.width), spec, roi)
        val canvas = draw(picture, geometry)
        val planes = ArrayList<Plane>()
        if (spec.color == ColorOrder.GRAY) {
            planes += Plane(toGray(canvas.bgr), 0, 1)
        } else {
            val first = if (spec.color == ColorOrder.RGB) intArrayOf(2, 1, 0) else intArrayOf(0, 1, 2)
            first.forEach { byte -> planes += Plane(canvas.bgr, byte, 3) }
        }
        if (spec.hasPrior) planes += Plane(priorChannel(recall(geometry)), 0, 1)
        return Prepared(toTensor(planes), geometry)
    }

    private fun draw(picture: Picture, geometry: Geometry): Canvas {
        val content = geometry.content
        val canvas = Canvas(ByteArray(spec.size.height * spec.size.width * 3), spec.size)
        if (content.size != spec.size) canvas.bgr.fill(spec.padValue.toByte())
        var region = Region(picture.argb, picture.width, geometry.box)
        if (spec.reduce == Reduction.HALVE) region = halve(region, content.size)
        when (spec.interpolation) {
            Interpolation.LINEAR_EXACT -> resizeLinearExact(region, canvas, content)
            Interpolation.NEAREST -> resizeNearest(region, canvas, content)
        }
        return canvas
    }

    private fun toGray(bgr: ByteArray): ByteArray = ByteArray(bgr.size / 3) { i ->
        val blue = bgr[3 * i].toInt() and 255
        val green = bgr[3 * i + 1].toInt() and 255
        val red = bgr[3 * i + 2].toInt() and 255
        ((3735 * blue + 19235 * green + 9798 * red + 16384) shr 15).toByte()
    }

    private fun priorChannel(labels: ByteArray?): ByteArray {
        val pixels = spec.size.height * spec.size.width
        if (labels == null) return ByteArray(pixels)
        checkLabels(labels, spec.size)
        return ByteArray(pixels) { i -> priorTable[labels[i].toInt() and 255] }
    }

    /** Float32 `((x * scale) - mean) / std`, the constants rounded to float32 first, a rounding after each step. */
    private fun normalised(channel: Int): FloatArray {
        val scale = spec.scale.toFloat()
        val mean = spec.mean[channel].toFloat()
        val std = spec.std[channel].toFloat()
        return FloatArray(256) { x ->
            val scaled = x.toFloat() * scale
            val centred = scaled - mean
            centred / std
        }
    }

    private fun toTensor(planes: List<Plane>): Values {
        val pixels = spec.size.height * spec.size.width
        val interleaved = spec.layout == InputLayout.NHWC
        val step = if (interleaved) planes.size else 1
        val plane = if (interleaved) 1 else pixels
        if (tables == null) {
            val bytes = ByteArray(pixels * planes.size)
            planes.forEachIndexed { channel, (data, first, stride) ->
                for (i in 0 until pixels) bytes[channel * plane + i * step] = data[first + i * stride]
            }
            return Values.Bytes(bytes)
        }
        val floats = FloatArray(pixels * planes.size)
        planes.forEachIndexed { channel, (data, first, stride) ->
            val table = tables[channel]
            for (i in 0 until pixels) {
                floats[channel * plane + i * step] = table[data[first + i * stride].toInt() and 255]
            }
        }
        return Values.Floats(floats)
    }
}

/** One channel: where its first byte lies, and how far the next pixel's is. */
private data class Plane(val data: ByteArray, val first: Int, val stride: Int)
