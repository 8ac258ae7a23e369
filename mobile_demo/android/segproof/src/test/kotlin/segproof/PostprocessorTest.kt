package segproof

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

class PostprocessorTest {
    private val manifest = Manifest.parse(MANIFEST)
    private val geometry = Geometry.plan(Size(4, 6), manifest.preprocess)

    private fun postprocessor(
        resize: Restoring = Restoring.LABELS,
        role: TensorRole = TensorRole.LOGITS,
        layout: TensorLayout = TensorLayout.NCHW,
        shape: List<Int> = listOf(1, 3, 2, 3),
    ) = Postprocessor(PostprocessSpec(resize, 9, false), TensorSpec("y", role, shape, TensorType.FLOAT32, layout))

    private fun enlarged(vararg labels: Int): ByteArray =
        ByteArray(24) { i -> labels[i / 6 / 2 * 3 + i % 6 / 2].toByte() }

    @Test
    fun tiesGoToTheLowerClass() {
        val planes =
            floatArrayOf(1f, 0f, 0f, -1f, 5f, 0f) + floatArrayOf(1f, 2f, 0f, -1f, 5f, -0f) + FloatArray(6) { 2f }
        val found = postprocessor().label(Values.Floats(planes), geometry)
        assertArrayEquals(enlarged(2, 1, 2, 2, 0, 2), found.network)
        assertArrayEquals(found.network, found.source)
    }

    @Test
    fun scoresByPixelAreTheSame() {
        val planes = FloatArray(18) { i -> drawBytes(3, 18)[i].toFloat() }
        val pixels = FloatArray(18) { i -> planes[i % 3 * 6 + i / 3] }
        val byPixel = postprocessor(layout = TensorLayout.NHWC, shape = listOf(1, 2, 3, 3))
        assertArrayEquals(
            postprocessor().label(Values.Floats(planes), geometry).source,
            byPixel.label(Values.Floats(pixels), geometry).source,
        )
    }

    @Test
    fun labelsOfEveryTypePass() {
        val labels = postprocessor(role = TensorRole.LABELS, layout = TensorLayout.NHW, shape = listOf(1, 2, 3))
        val values = listOf(
            Values.Bytes(byteArrayOf(0, 1, 2, 2, 1, -1)), Values.Ints(intArrayOf(0, 1, 2, 2, 1, 255)),
            Values.Longs(longArrayOf(0, 1, 2, 2, 1, 255)),
        )
        for (each in values) assertArrayEquals(enlarged(0, 1, 2, 2, 1, 255), labels.label(each, geometry).source)
        assertRefused<ArtifactException>("the label 256 is beyond") {
            labels.label(Values.Ints(IntArray(6) { 256 }), geometry)
        }
        assertRefused<ArtifactException>("the label -1 is beyond") {
            labels.label(Values.Longs(LongArray(6) { -1 }), geometry)
        }
        assertRefused<ArtifactException>("found floats") { labels.label(Values.Floats(FloatArray(6)), geometry) }
    }

    @Test
    fun pixelsOutsideTheRegionGetTheirLabel() {
        val stretch = manifest.preprocess.copy(resize = ResizePolicy.STRETCH)
        val region = Geometry.plan(Size(5, 8), stretch, Rect(1, 2, 2, 3))
        for (resize in Restoring.values()) {
            val planes = FloatArray(6) { 0f } + FloatArray(6) { 1f } + FloatArray(6) { 0f }
            val found = postprocessor(resize).label(Values.Floats(planes), region).source
            assertArrayEquals(ByteArray(40) { i -> if (i / 8 in 1..2 && i % 8 in 2..4) 1 else 9 }, found)
        }
    }

    @Test
    fun scoresThatAreNotFiniteAreRefused() {
        for (wrong in listOf(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY)) {
            for (place in listOf(0, 7, 17)) {
                val planes = FloatArray(18).also { it[place] = wrong }
                assertRefused<ArtifactException>("NaN or infinity") {
                    postprocessor().label(Values.Floats(planes), geometry)
                }
            }
        }
        postprocessor().label(Values.Floats(FloatArray(18) { Float.MAX_VALUE }), geometry)
    }

    @Test
    fun otherNumbersOfValuesAreRefused() {
        assertRefused<ArtifactException>("17 values, 18 expected") {
            postprocessor().label(Values.Floats(FloatArray(17)), geometry)
        }
        assertRefused<ArtifactException>("must come as") {
            postprocessor().label(Values.Bytes(ByteArray(18)), geometry)
        }
    }

    @Test
    fun bilinearRepeatsEdgesAndMeetsPixelCentres() {
        val row = resizeBilinear(floatArrayOf(0f, 4f), Size(1, 2), Size(1, 8))
        assertArrayEquals(floatArrayOf(0f, 0f, 0.5f, 1.5f, 2.5f, 3.5f, 4f, 4f), row, 0f)
        assertEquals(2f, resizeBilinear(floatArrayOf(0f, 4f, 0f, 4f), Size(2, 2), Size(1, 1))[0], 0f)
    }
}
