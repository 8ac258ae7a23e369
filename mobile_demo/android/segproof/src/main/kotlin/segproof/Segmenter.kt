package segproof

/** Times of one picture. */
public data class Timings(val preMs: Double, val inferMs: Double, val postMs: Double)

/** What a network found in one picture: [labels], an unsigned byte a pixel, row by row, at the picture's size. */
public class Segmentation(
    public val labels: ByteArray,
    /** The same at the network's size, padding included. */
    public val networkLabels: ByteArray,
    public val geometry: Geometry,
    public val timings: Timings,
) {
    /** Height and width of [labels]. */
    public val size: Size get() = geometry.source

    /** The class at a pixel. */
    public operator fun get(y: Int, x: Int): Int = labels[y * size.width + x].toInt() and 255

    /**
     * Return the labels as colours 0xAARRGGBB of [palette], all with the given [alpha] (0..255), for drawing over the
     * picture. Classes in [hidden] and labels without a colour become transparent.
     */
    public fun paint(palette: List<Int>, alpha: Int, hidden: Set<Int> = emptySet()): IntArray {
        val colors = IntArray(256) { label ->
            if (label in hidden || label >= palette.size) 0 else (palette[label] and 0xFFFFFF) or (alpha shl 24)
        }
        return IntArray(labels.size) { i -> colors[labels[i].toInt() and 255] }
    }
}

/**
 * Labels pictures with one network, as its [manifest] says. Not for several threads at once.
 *
 * A contract with a CRF is refused with [ManifestException], because the labels would be others than Python's, unless
 * [ignoreCrf] says that they may be. Closing it closes the [backend].
 */
public class Segmenter(
    public val manifest: Manifest,
    private val backend: Backend,
    ignoreCrf: Boolean = false,
) : AutoCloseable {
    private val preprocessor = Preprocessor(manifest.preprocess)
    private val postprocessor = Postprocessor(manifest.postprocess, manifest.outputs[0])
    private var before: Segmentation? = null

    init {
        if (manifest.postprocess.hasCrf && !ignoreCrf) {
            val advice = "export without it, or pass ignoreCrf = true"
            throw ManifestException("postprocess.crf: this library has no CRF; $advice")
        }
    }

    /** Label a single picture, or its region [roi]; raises [SegproofException]. */
    public fun label(picture: Picture, roi: Rect? = null): Segmentation = run(picture, roi) { null }

    /** Label the next frame of a video: networks with a prior are told the labels of the frame before. */
    public fun labelFrame(picture: Picture, roi: Rect? = null): Segmentation {
        val found = run(picture, roi) { geometry ->
            before?.let { carryLabels(it.networkLabels, it.geometry, geometry) }
        }
        if (manifest.preprocess.hasPrior) before = found
        return found
    }

    /** Forget the frame before: after a cut, a seek, with another video. */
    public fun startOver() {
        before = null
    }

    override fun close(): Unit = backend.close()

    private fun run(picture: Picture, roi: Rect?, recall: (Geometry) -> ByteArray?): Segmentation {
        val start = System.nanoTime()
        val prepared = preprocessor.prepare(picture, roi, recall)
        val ready = System.nanoTime()
        val values = backend.run(prepared.tensor)
        val inferred = System.nanoTime()
        val labels = postprocessor.label(values, prepared.geometry)
        val end = System.nanoTime()
        val timings = Timings((ready - start) / 1e6, (inferred - ready) / 1e6, (end - inferred) / 1e6)
        return Segmentation(labels.source, labels.network, prepared.geometry, timings)
    }
}
