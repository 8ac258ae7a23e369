// JSON as RFC 8259 has it and nothing more. Android's org.json also takes comments, unquoted text and what follows the
// end, so that a damaged manifest could pass it as another one.
package segproof

/**
 * Read JSON: objects become Map, lists List, text String, `true` and `false` Boolean, `null` null, numbers without
 * fraction and exponent Long, others Double. Raises [ManifestException] naming line and column.
 */
internal fun parseJson(text: String): Any? = JsonReader(text).readAll()

private class JsonReader(private val text: String) {
    private var at = 0

    fun readAll(): Any? {
        val value = readValue(0)
        skipSpace()
        if (at < text.length) fail("expected the end")
        return value
    }

    private fun readValue(depth: Int): Any? {
        // Recursion ends here before it ends the thread's stack.
        if (depth > LARGEST_DEPTH) fail("nested more than $LARGEST_DEPTH deep")
        skipSpace()
        if (at == text.length) fail("expected a value")
        return when (text[at]) {
            '{' -> readObject(depth)
            '[' -> readList(depth)
            '"' -> readText()
            't' -> readWord("true", true)
            'f' -> readWord("false", false)
            'n' -> readWord("null", null)
            else -> readNumber()
        }
    }

    private fun readObject(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        at++
        if (skips('}')) return found
        do {
            skipSpace()
            if (at == text.length || text[at] != '"') fail("expected a name in quotes")
            val name = readText()
            if (!skips(':')) fail("expected ':'")
            if (name in found) fail("\"$name\" is there twice")
            found[name] = readValue(depth + 1)
        } while (skips(','))
        if (!skips('}')) fail("expected ',' or '}'")
        return found
    }

    private fun readList(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        at++
        if (skips(']')) return found
        do {
            found += readValue(depth + 1)
        } while (skips(','))
        if (!skips(']')) fail("expected ',' or ']'")
        return found
    }

    private fun readText(): String {
        val found = StringBuilder()
        at++
        while (true) {
            if (at == text.length) fail("text without its closing quote")
            val char = text[at++]
            when {
                char == '"' -> return found.toString()
                char == '\\' -> found.append(readEscape())
                char < ' ' -> fail("a control character in text")
                else -> found.append(char)
            }
        }
    }

    private fun readEscape(): Char {
        if (at == text.length) fail("text without its closing quote")
        val char = text[at++]
        if (char == 'u') {
            val digits = text.substring(at, minOf(at + 4, text.length))
            if (digits.length < 4 || !digits.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }) {
                fail("expected four hexadecimal digits")
            }
            at += 4
            return digits.toInt(16).toChar()
        }
        val index = "\"\\/bfnrt".indexOf(char)
        if (index < 0) fail("unknown escape")
        return "\"\\/\b\u000C\n\r\t"[index]
    }

    private fun readWord(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("expected a value")
        at += word.length
        return value
    }

    private fun readNumber(): Any {
        val found = NUMBER.find(text, at)
        if (found == null || found.range.first != at) fail("expected a value")
        at += found.value.length
        val isWhole = found.groupValues[1].isEmpty() && found.groupValues[2].isEmpty()
        return (if (isWhole) found.value.toLongOrNull() else null) ?: found.value.toDouble()
    }

    private fun skips(char: Char): Boolean {
        skipSpace()
        val found = at < text.length && text[at] == char
        if (found) at++
        return found
    }

    private fun skipSpace() {
        while (at < text.length && text[at] in " \t\n\r") at++
    }

    private fun fail(what: String): Nothing {
        val before = text.substring(0, minOf(at, text.length))
        val line = before.count { it == '\n' } + 1
        val column = before.length - before.lastIndexOf('\n')
        throw ManifestException("not valid JSON ($what at line $line column $column)")
    }

    private companion object {
        const val LARGEST_DEPTH = 100
        val NUMBER = Regex("-?(?:0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
    }
}
