package segproof

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Test

class VectorsTest {
    private val csv = File(System.getProperty("segproof.vectors")).readText()

    @Test
    fun everyRowIsReproduced() = assertEquals(252, checkVectors(csv))

    @Test
    fun anotherHashIsNoticedInEveryRow() {
        val lines = csv.trim().lines()
        for (line in lines.drop(1)) {
            val last = if (line.last() == '0') '1' else '0'
            assertRefused<ArtifactException>(line.dropLast(1)) {
                checkVectors(lines.first() + "\n" + line.dropLast(1) + last)
            }
        }
    }

    @Test
    fun noRowsProveNothing() {
        assertRefused<ArtifactException>("no rows") { checkVectors(csv.lines().first() + "\n") }
    }

    @Test
    fun hashIsThePublishedOne() {
        assertEquals("cbf29ce484222325", hashValues(Values.Bytes(ByteArray(0))))
        assertEquals("85944171f73967e8", hashValues(Values.Bytes("foobar".toByteArray())))
    }

    @Test
    fun wordsAreHashedInLittleEndianOrder() {
        val bytes = hashValues(Values.Bytes(byteArrayOf(0, 0, -128, 63, 2, 0, 0, 0)))
        assertEquals(bytes, hashValues(Values.Ints(intArrayOf(0x3F800000, 2))))
        assertEquals(bytes, hashValues(Values.Floats(floatArrayOf(1f, Float.fromBits(2)))))
        assertEquals(bytes, hashValues(Values.Longs(longArrayOf(0x23F800000))))
    }

    @Test
    fun generatorIsMarsaglias() {
        // His seed: the first output of xor32 is 723471715.
        assertEquals(723471715 ushr 24, drawBytes(2463534242.toInt(), 1)[0].toInt() and 255)
    }
}
