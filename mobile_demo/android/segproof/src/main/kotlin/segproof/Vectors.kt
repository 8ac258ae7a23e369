// The golden vectors of the contract (mobile_demo/vectors): the generator, the hash, and the check of all rows. An app
// may run it on the phone: what passes there prepares pictures as Python does.
package segproof

/** Scale, mean and std, the latter two in the order red, green, blue. */
private class Norm(val scale: Double, val mean: List<Double>, val std: List<Double>)

private val NORMS = mapOf(
    "imagenet" to Norm(1.0 / 255.0, listOf(0.485, 0.456, 0.406), listOf(0.229, 0.224, 0.225)),
    "half" to Norm(1.0 / 255.0, listOf(0.5, 0.5, 0.5), listOf(0.5, 0.5, 0.5)),
    "pixels" to Norm(1.0, listOf(123.675, 116.28, 103.53), listOf(58.395, 57.12, 57.375)),
    "raw" to Norm(1.0, listOf(0.0, 0.0, 0.0), listOf(1.0, 1.0, 1.0)),
)

/** Of the rows `prior`: pixel values of the labels 0..17; label 18 has none. */
private val PRIOR_VALUES = List(18) { label -> 20 + 13 * label }

/** Of the rows `label`: classes of the scores, and how many times as large as their map the network's input is. */
private const val SCORE_CLASSES = 5
private const val SCORE_STRIDE = 4

/**
 * Check every row of the text of `vectors.csv` and return their number.
 * Raises [ArtifactException] at the first that differs, and where there is none.
 */
public fun checkVectors(csv: String): Int {
    val lines = csv.trim().lines()
    val names = lines.first().split(',')
    for (line in lines.drop(1)) {
        val row = names.zip(line.split(',')).toMap()
        val found = computeRow(row)
        if (found != row["fnv1a64"]) throw ArtifactException("golden vector: $found is not that of the row $line")
    }
    return if (lines.size > 1) lines.size - 1 else throw ArtifactException("golden vectors: no rows")
}

/** Draw pseudo-random bytes: xorshift32 from [seed], the top byte of each state. */
public fun drawBytes(seed: Int, count: Int): ByteArray {
    var state = seed
    return ByteArray(count) {
        state = state xor (state shl 13)
        state = state xor (state ushr 17)
        state = state xor (state shl 5)
        (state ushr 24).toByte()
    }
}

/** Draw a picture: its bytes are blue, green, red, pixel by pixel. */
public fun drawPicture(seed: Int, size: Size): Picture =
    Picture.ofBytes(drawBytes(seed, size.height * size.width * 3), size.height, size.width, PixelOrder.BGR)

/** Return the 64-bit FNV-1a hash of a tensor's bytes (float32 little-endian) as 16 hexadecimal digits. */
public fun hashValues(values: Values): String {
    val hash = Fnv1a()
    when (values) {
        is Values.Bytes -> values.data.forEach { hash.add(it.toInt()) }
        is Values.Ints -> values.data.forEach { hash.addWord(it) }
        is Values.Floats -> values.data.forEach { hash.addWord(it.toRawBits()) }
        is Values.Longs -> values.data.forEach {
            hash.addWord(it.toInt())
            hash.addWord((it ushr 32).toInt())
        }
    }
    return hash.toString()
}

private class Fnv1a {
    private var value = 0xcbf29ce484222325uL

    fun add(byte: Int) {
        value = (value xor (byte and 255).toULong()) * 0x100000001b3uL
    }

    fun addWord(word: Int) {
        for (shift in 0..24 step 8) add(word ushr shift)
    }

    override fun toString(): String = value.toString(16).padStart(16, '0')
}

private fun computeRow(row: Map<String, String>): String {
    val spec = specOf(row)
    val source = Size(row.getValue("source_h").toInt(), row.getValue("source_w").toInt())
    val corners = row.getValue("roi").split(':').mapNotNull { it.toIntOrNull() }
    val roi = if (corners.isEmpty()) null else Rect(corners[0], corners[1], corners[2], corners[3])
    val seed = row.getValue("seed").toInt()
    val geometry = Geometry.plan(source, spec, roi)
    return when (row["kind"]) {
        "restore" -> hashValues(Values.Bytes(restoreLabels(geometry, drawLabels(seed, spec.size), 255)))
        "label" -> hashValues(Values.Bytes(labelScores(row, seed, geometry)))
        else -> {
            val prepared = Preprocessor(spec).prepare(drawPicture(seed, source), roi) { now ->
                carryLabels(drawLabels(seed, spec.size), Geometry.plan(source, spec), now)
            }
            hashValues(prepared.tensor)
        }
    }
}

private fun drawLabels(seed: Int, size: Size): ByteArray {
    val labels = drawBytes(seed, size.height * size.width)
    for (i in labels.indices) labels[i] = ((labels[i].toInt() and 255) % 19).toByte()
    return labels
}

/** Labels of drawn scores, of which most are tied, at the picture's size. */
private fun labelScores(row: Map<String, String>, seed: Int, geometry: Geometry): ByteArray {
    val height = geometry.size.height / SCORE_STRIDE
    val width = geometry.size.width / SCORE_STRIDE
    val layout = TensorLayout.valueOf(row.getValue("layout").uppercase())
    val planes = layout == TensorLayout.NCHW
    val shape = if (planes) listOf(1, SCORE_CLASSES, height, width) else listOf(1, height, width, SCORE_CLASSES)
    val output = TensorSpec("scores", TensorRole.LOGITS, shape, TensorType.FLOAT32, layout)
    val drawn = drawBytes(seed, SCORE_CLASSES * height * width)
    val scores = FloatArray(drawn.size) { i -> (drawn[i].toInt() and 3).toFloat() }
    val spec = PostprocessSpec(Restoring.LABELS, row.getValue("pad_value").toInt(), hasCrf = false)
    return Postprocessor(spec, output).label(Values.Floats(scores), geometry).source
}

private fun specOf(row: Map<String, String>): PreprocessSpec {
    val norm = NORMS.getValue(row.getValue("norm"))
    val color = ColorOrder.valueOf(row.getValue("color").uppercase())
    fun pick(values: List<Double>) = when (color) {
        ColorOrder.RGB -> values
        ColorOrder.BGR -> values.reversed()
        ColorOrder.GRAY -> values.take(1)
    }
    val prior = row["kind"] == "prior"
    return PreprocessSpec(
        size = Size(row.getValue("size_h").toInt(), row.getValue("size_w").toInt()),
        color = color,
        resize = ResizePolicy.valueOf(row.getValue("resize").uppercase()),
        interpolation = Interpolation.valueOf(row.getValue("interpolation").uppercase()),
        reduce = Reduction.valueOf(row.getValue("reduce").uppercase()),
        padValue = row.getValue("pad_value").toInt(),
        scale = norm.scale,
        mean = if (prior) pick(norm.mean) + 0.0 else pick(norm.mean),
        std = if (prior) pick(norm.std) + 1.0 else pick(norm.std),
        layout = InputLayout.valueOf(row.getValue("layout").uppercase()),
        dtype = if (row["norm"] == "raw") InputType.UINT8 else InputType.FLOAT32,
        priorValues = if (prior) PRIOR_VALUES else emptyList(),
    )
}
