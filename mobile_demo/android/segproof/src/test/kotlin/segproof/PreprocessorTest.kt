package segproof

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

class PreprocessorTest {
    private val spec = Manifest.parse(MANIFEST).preprocess
    private val raw = spec.copy(
        scale = 1.0, mean = List(3) { 0.0 }, std = List(3) { 1.0 }, layout = InputLayout.NHWC, dtype = InputType.UINT8,
    )

    @Test
    fun ordersOfBytesGiveTheSamePicture() {
        val expected = intArrayOf(0xFF010203.toInt(), 0xFFFEFDFC.toInt())
        val bytes = mapOf(
            PixelOrder.RGB to byteArrayOf(1, 2, 3, -2, -3, -4),
            PixelOrder.BGR to byteArrayOf(3, 2, 1, -4, -3, -2),
            PixelOrder.RGBA to byteArrayOf(1, 2, 3, 9, -2, -3, -4, 9),
            PixelOrder.BGRA to byteArrayOf(3, 2, 1, 9, -4, -3, -2, 9),
        )
        for ((order, data) in bytes) assertArrayEquals(expected, Picture.ofBytes(data, 2, 1, order).argb)
    }

    @Test
    fun alphaMeansNothing() {
        val opaque = drawPicture(5, Size(9, 7))
        val clear = Picture(IntArray(opaque.argb.size) { opaque.argb[it] and 0xFFFFFF }, 9, 7)
        for (reduce in Reduction.values()) {
            val preprocessor = Preprocessor(spec.copy(reduce = reduce, size = Size(3, 2)))
            val found = listOf(opaque, clear).map { hashValues(preprocessor.prepare(it).tensor) }
            assertEquals(found[0], found[1])
        }
    }

    @Test
    fun paddingIsCentredAndOfItsValue() {
        val picture = Picture(IntArray(4) { 0x00030201 }, 2, 2)
        val prepared = Preprocessor(raw.copy(size = Size(4, 7))).prepare(picture)
        assertEquals(Rect(0, 1, 4, 4), prepared.geometry.content)
        val row = byteArrayOf(114, 114, 114) + ByteArray(12) { (3 - it % 3).toByte() } + ByteArray(6) { 114 }
        assertArrayEquals(row + row + row + row, (prepared.tensor as Values.Bytes).data)
    }

    @Test
    fun picturesThatAreNoneAreRefused() {
        assertRefused<ImageException>("3 pixels are not 2x2") { Picture(IntArray(3), 2, 2) }
        assertRefused<ImageException>("0 pixels are not 0x4") { Picture(IntArray(0), 0, 4) }
        assertRefused<ImageException>("11 bytes are not 2x2 in BGR") {
            Picture.ofBytes(ByteArray(11), 2, 2, PixelOrder.BGR)
        }
        assertRefused<ImageException>("-1x-1") { Picture(IntArray(1), -1, -1) }
    }

    @Test
    fun regionsBeyondThePictureAreRefused() {
        val picture = drawPicture(1, Size(5, 5))
        val regions = listOf(Rect(-1, 0, 2, 2), Rect(0, 4, 2, 2), Rect(0, 0, 0, 2), Rect(4, 4, Int.MAX_VALUE, 1))
        for (region in regions) {
            assertRefused<ImageException>("is not inside the picture of 5x5") {
                Preprocessor(spec).prepare(picture, region)
            }
        }
    }

    @Test
    fun priorOfAnotherSizeIsRefused() {
        val preprocessor = Preprocessor(Manifest.parse(changed(*WITH_PRIOR)).preprocess)
        assertRefused<ImageException>("23 of them are not 4x6") {
            preprocessor.prepare(drawPicture(1, Size(5, 5)), recall = { ByteArray(23) })
        }
    }
}
