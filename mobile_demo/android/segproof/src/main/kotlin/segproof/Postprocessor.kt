// From the network's output to a label map at the size of the picture, as seg_core/postprocessing.py.
package segproof

/** Labels at the network's size, padding included, and at the picture's; an unsigned byte a pixel. */
public class Labels(public val network: ByteArray, public val source: ByteArray)

/** Turns output tensors, which are as [output] says, into labels. Ties go to the lower class. */
public class Postprocessor(private val spec: PostprocessSpec, private val output: TensorSpec) {
    /** Return labels; raises [ArtifactException] when [values] are not what the manifest says or not finite. */
    public fun label(values: Values, geometry: Geometry): Labels {
        if (values.count.toLong() != output.count) {
            throw ArtifactException("output \"${output.name}\": ${values.count} values, ${output.count} expected")
        }
        if (output.role == TensorRole.LABELS) return restore(toBytes(values), geometry)
        val scores = (values as? Values.Floats)?.data
            ?: throw ArtifactException("output \"${output.name}\": scores must come as Values.Floats")
        if (!areFinite(scores)) {
            val why = "half precision may have overflowed"
            throw ArtifactException("output \"${output.name}\": holds NaN or infinity; $why")
        }
        val pixels = output.size.height * output.size.width
        val classes = scores.size / pixels
        val planes = if (output.layout == TensorLayout.NHWC) toPlanes(scores, pixels, classes) else scores
        return when (spec.resize) {
            Restoring.LABELS -> restore(argmax(planes, pixels, classes), geometry)
            Restoring.LOGITS -> labelResized(planes, classes, geometry)
        }
    }

    private fun restore(labels: ByteArray, geometry: Geometry): Labels {
        val network = repeat(labels, output.size, geometry.size)
        return Labels(network, restoreLabels(geometry, network, spec.outsideLabel))
    }

    private fun toBytes(values: Values): ByteArray {
        fun checked(label: Long): Byte {
            if (label in 0..255) return label.toByte()
            throw ArtifactException("output \"${output.name}\": the label $label is beyond 0..255")
        }
        return when (values) {
            is Values.Bytes -> values.data
            is Values.Ints -> ByteArray(values.count) { checked(values.data[it].toLong()) }
            is Values.Longs -> ByteArray(values.count) { checked(values.data[it]) }
            is Values.Floats -> throw ArtifactException("output \"${output.name}\": labels are integers, found floats")
        }
    }

    /** Enlarge the scores and take the largest: class by class, as all at a photograph's size would be gigabytes. */
    private fun labelResized(planes: FloatArray, classes: Int, geometry: Geometry): Labels {
        val pixels = output.size.height * output.size.width
        val network = Winner(geometry.size)
        val inside = Winner(geometry.box.size)
        for (c in 0 until classes) {
            val whole = resizeBilinear(planes.copyOfRange(c * pixels, (c + 1) * pixels), output.size, geometry.size)
            network.offer(whole, c)
            val content = cutPlane(whole, geometry.size.width, geometry.content)
            inside.offer(resizeBilinear(content, geometry.content.size, geometry.box.size), c)
        }
        return Labels(network.labels, place(inside.labels, geometry, spec.outsideLabel))
    }
}

/** The class with the largest score so far of each pixel; the first of equals stays. */
private class Winner(size: Size) {
    private val best = FloatArray(size.height * size.width) { Float.NEGATIVE_INFINITY }
    val labels = ByteArray(best.size)

    fun offer(scores: FloatArray, label: Int, start: Int = 0) {
        for (i in best.indices) {
            val score = scores[start + i]
            if (score > best[i]) {
                best[i] = score
                labels[i] = label.toByte()
            }
        }
    }
}

private fun argmax(planes: FloatArray, pixels: Int, classes: Int): ByteArray {
    val winner = Winner(Size(1, pixels))
    for (c in 0 until classes) winner.offer(planes, c, c * pixels)
    return winner.labels
}

private fun areFinite(scores: FloatArray): Boolean {
    var sum = 0f
    for (score in scores) sum += score * 0f // NaN or infinity makes NaN of it and keeps it so
    return sum == 0f
}

private fun toPlanes(scores: FloatArray, pixels: Int, classes: Int): FloatArray {
    val planes = FloatArray(scores.size)
    for (i in 0 until pixels) for (c in 0 until classes) planes[c * pixels + i] = scores[i * classes + c]
    return planes
}

/**
 * Carry labels at network size back to the picture's; pixels outside the region get [outsideLabel].
 * Raises [ImageException] when there are not as many labels as the network's canvas has pixels.
 */
public fun restoreLabels(geometry: Geometry, labels: ByteArray, outsideLabel: Int): ByteArray {
    val (source, box, content, size) = geometry
    checkLabels(labels, size)
    val restored = ByteArray(source.height * source.width)
    if (outsideLabel != 0 && box.size != source) restored.fill(outsideLabel.toByte())
    copyNearest(labels, size.width, content, restored, source.width, box)
    return restored
}

internal fun checkLabels(labels: ByteArray, size: Size) {
    if (labels.size != size.height * size.width) throw ImageException("labels: ${labels.size} of them are not $size")
}

private fun place(labels: ByteArray, geometry: Geometry, outsideLabel: Int): ByteArray {
    val (source, box) = geometry
    if (box.size == source) return labels
    val placed = ByteArray(source.height * source.width) { outsideLabel.toByte() }
    for (y in 0 until box.height) {
        labels.copyInto(placed, (box.top + y) * source.width + box.left, y * box.width, (y + 1) * box.width)
    }
    return placed
}

private fun repeat(labels: ByteArray, from: Size, to: Size): ByteArray {
    if (from == to) return labels
    val down = to.height / from.height
    val across = to.width / from.width
    return ByteArray(to.height * to.width) { i -> labels[i / to.width / down * from.width + i % to.width / across] }
}

private fun cutPlane(plane: FloatArray, stride: Int, rect: Rect): FloatArray {
    val out = FloatArray(rect.height * rect.width)
    for (y in 0 until rect.height) {
        val start = (rect.top + y) * stride + rect.left
        plane.copyInto(out, y * rect.width, start, start + rect.width)
    }
    return out
}

/** Resize scores bilinearly: pixel centres, edges repeated (OpenCV's INTER_LINEAR but for its last bits). */
internal fun resizeBilinear(plane: FloatArray, from: Size, to: Size): FloatArray {
    if (from == to) return plane
    val down = BilinearAxis(from.height, to.height)
    val across = BilinearAxis(from.width, to.width)
    val out = FloatArray(to.height * to.width)
    for (y in 0 until to.height) {
        val upper = down.first[y] * from.width
        val lower = down.second[y] * from.width
        val b = down.weight[y]
        for (x in 0 until to.width) {
            val p = across.first[x]
            val q = across.second[x]
            val a = across.weight[x]
            val top = plane[upper + p] * (1 - a) + plane[upper + q] * a
            val bottom = plane[lower + p] * (1 - a) + plane[lower + q] * a
            out[y * to.width + x] = top * (1 - b) + bottom * b
        }
    }
    return out
}

private class BilinearAxis(source: Int, target: Int) {
    val first = IntArray(target)
    val second = IntArray(target)
    val weight = FloatArray(target)

    init {
        val scale = source.toDouble() / target
        for (d in 0 until target) {
            val position = maxOf(0f, ((d + 0.5) * scale - 0.5).toFloat())
            first[d] = minOf(position.toInt(), source - 1)
            second[d] = minOf(first[d] + 1, source - 1)
            weight[d] = if (first[d] == source - 1) 0f else position - first[d]
        }
    }
}
