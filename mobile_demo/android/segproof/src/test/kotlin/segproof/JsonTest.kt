package segproof

import org.junit.Assert.assertEquals
import org.junit.Test

class JsonTest {
    @Test
    fun everyKindOfValueIsRead() {
        val text = """ {"a": [1, -0, 2.5, 1e3, -1E-2], "b": {"": null}, "c": true, "d": false, "e": []} """
        val expected = mapOf(
            "a" to listOf(1L, 0L, 2.5, 1000.0, -0.01), "b" to mapOf("" to null), "c" to true, "d" to false,
            "e" to emptyList<Any>(),
        )
        assertEquals(expected, parseJson(text))
    }

    @Test
    fun escapesAreRead() {
        assertEquals("\"\\/\b\u000C\n\r\té😀", parseJson(""""\"\\\/\b\f\n\r\t\u00e9\ud83D\uDe00""""))
    }

    @Test
    fun wholeNumbersBeyondLongBecomeDouble() = assertEquals(1e20, parseJson("100000000000000000000"))

    @Test
    fun everythingElseIsRefused() {
        val damaged = listOf(
            "", " ", "{", "[", "[1", "[1,", "[1,]", "[1 2]", "[1]]", "1 2", "{} x", "// c\n1", "\u00A01",
            "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{a:1}", "{'a':1}",
            "nul", "True", "NaN", "Infinity", "-", "+1", "01", "1.", ".5", "1e", "0x1",
            "\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"a\nb\"",
        )
        for (text in damaged) assertRefused<ManifestException>("not valid JSON") { parseJson(text) }
    }

    @Test
    fun namesMayNotRepeat() = assertRefused<ManifestException>("\"a\" is there twice") {
        parseJson("{\"a\": 1, \"a\": 1}")
    }

    @Test
    fun placeOfTheDamageIsNamed() = assertRefused<ManifestException>("line 2 column 5") { parseJson("{\n\"a\" 1}") }

    @Test
    fun depthDoesNotEndTheStack() = assertRefused<ManifestException>("100 deep") { parseJson("[".repeat(1_000_000)) }
}
