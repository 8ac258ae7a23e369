package segproof

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** Gives class 1 wherever the first channel is positive, and keeps what it was fed. */
private class Threshold(private val size: Size) : Backend {
    val fed = ArrayList<FloatArray>()
    var closed = false

    override fun run(input: Values): Values {
        val data = (input as Values.Floats).data
        fed += data
        val half = FloatArray(size.height / 2 * size.width / 2) { i ->
            val width = size.width / 2
            data[2 * (i / width) * size.width + 2 * (i % width)]
        }
        return Values.Floats(FloatArray(half.size) { 0f } + half + FloatArray(half.size) { -1f })
    }

    override fun close() {
        closed = true
    }
}

class SegmenterTest {
    /** Black left of the middle, white right of it. */
    private val picture = Picture(IntArray(8 * 12) { if (it % 12 < 6) 0 else 0xFFFFFF }, 8, 12)
    private val size = Size(4, 6)

    @Test
    fun labelsComeBackAtThePicturesSize() {
        Segmenter(Manifest.parse(MANIFEST), Threshold(size)).use { segmenter ->
            val found = segmenter.label(picture)
            assertEquals(Size(8, 12), found.size)
            assertEquals(0, found[7, 7])
            assertEquals(1, found[0, 8]) // the network answers for two columns, the picture has twice as many
            assertEquals(1, found[7, 11])
            assertTrue(found.timings.preMs > 0 && found.timings.inferMs > 0 && found.timings.postMs > 0)
            val colors = found.paint(segmenter.manifest.labels.palette, 128, hidden = setOf(0))
            assertEquals(0, colors[0])
            assertEquals(0x80FF0001.toInt(), colors[11])
        }
    }

    @Test
    fun closingClosesTheBackend() {
        val backend = Threshold(size)
        Segmenter(Manifest.parse(MANIFEST), backend).close()
        assertTrue(backend.closed)
    }

    @Test
    fun crfIsRefusedUnlessIgnored() {
        val manifest = Manifest.parse(changed("\"outside_label\": 0" to "\"outside_label\": 0, \"crf\": {}"))
        assertRefused<ManifestException>("postprocess.crf") { Segmenter(manifest, Threshold(size)) }
        Segmenter(manifest, Threshold(size), ignoreCrf = true).label(picture)
    }

    @Test
    fun frameIsToldTheLabelsOfTheOneBefore() {
        val backend = Threshold(size)
        val segmenter = Segmenter(Manifest.parse(changed(*WITH_PRIOR)), backend)
        fun prior() = backend.fed.last().copyOfRange(72, 96).map { (it * 255 / 4).let(Math::round) }
        val nothing = List(24) { 0 }

        val first = segmenter.labelFrame(picture)
        assertEquals(nothing, prior())
        segmenter.labelFrame(picture)
        assertEquals(first.networkLabels.map { if (it.toInt() == 0) 85 else 170 }, prior())
        segmenter.label(picture)
        assertEquals(nothing, prior())
        segmenter.labelFrame(drawPicture(1, Size(9, 12)))
        assertEquals(nothing, prior())
        segmenter.startOver()
        segmenter.labelFrame(drawPicture(1, Size(9, 12)))
        assertEquals(nothing, prior())
    }

    @Test
    fun networksWithoutPriorRememberNothing() {
        val backend = Threshold(size)
        val segmenter = Segmenter(Manifest.parse(MANIFEST), backend)
        repeat(2) { segmenter.labelFrame(picture) }
        assertArrayEquals(backend.fed[0], backend.fed[1], 0f)
        assertEquals(72, backend.fed[1].size)
    }
}
