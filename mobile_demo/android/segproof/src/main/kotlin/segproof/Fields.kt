package segproof

/** The fields of one object of a manifest, each taken once; what is left over at the end is refused. */
internal class Fields private constructor(private val where: String, private val values: Map<*, *>) {
    private val taken = HashSet<String>()

    fun has(name: String): Boolean = name in values

    fun path(name: String): String = "$where.$name"

    fun any(name: String): Any? {
        taken += name
        if (!has(name)) throw ManifestException("${path(name)}: missing field")
        return values[name]
    }

    fun text(name: String): String = any(name) as? String ?: refuse(path(name), "text", values[name])

    fun oneOf(name: String, vararg choices: String): String =
        text(name).also { if (it !in choices) refuse(path(name), "one of ${choices.joinToString()}", it) }

    fun truth(name: String): Boolean = any(name) as? Boolean ?: refuse(path(name), "true or false", values[name])

    fun integer(name: String, range: LongRange): Long = asInteger(any(name), path(name), range)

    fun number(name: String): Double = asNumber(any(name), path(name))

    fun numbers(name: String): List<Double> = list(name, ::asNumber)

    fun integers(name: String, range: LongRange): List<Int> =
        list(name) { value, path -> asInteger(value, path, range).toInt() }

    fun fields(name: String): Fields = of(any(name), path(name))

    fun map(name: String): Map<String, Any?> = of(any(name), path(name)).values.mapKeys { it.key as String }

    /** One of an enum's values, by its name in lower case. */
    inline fun <reified E : Enum<E>> choice(name: String): E {
        val value = any(name)
        return enumValues<E>().firstOrNull { it.name.lowercase() == value }
            ?: refuse(path(name), "one of " + enumValues<E>().joinToString { it.name.lowercase() }, value)
    }

    fun <T> list(name: String, item: (Any?, String) -> T): List<T> = asList(any(name), path(name), item)

    /** Refuse fields that were not asked for. */
    fun finish() {
        val unknown = values.keys.map { it as String }.filter { it !in taken }.minOrNull() ?: return
        throw ManifestException("${path(unknown)}: unknown field")
    }

    companion object {
        fun of(value: Any?, where: String): Fields =
            Fields(where, value as? Map<*, *> ?: refuse(where, "an object", value))

        fun <T> asList(value: Any?, where: String, item: (Any?, String) -> T): List<T> {
            val entries = value as? List<*> ?: refuse(where, "a list", value)
            return entries.mapIndexed { i, entry -> item(entry, "$where[$i]") }
        }

        fun asInteger(value: Any?, where: String, range: LongRange): Long {
            if (value is Long && value in range) return value
            val end = if (range.last < Int.MAX_VALUE) " to ${range.last}" else ""
            refuse(where, "an integer from ${range.first}$end", value)
        }

        fun asNumber(value: Any?, where: String): Double {
            val number = (value as? Number)?.toDouble() ?: refuse(where, "a number", value)
            return if (number.isNaN() || number.isInfinite()) refuse(where, "a finite number", value) else number
        }

        fun refuse(where: String, wanted: String, found: Any?): Nothing {
            val shown = if (found is String) "\"$found\"" else found.toString()
            throw ManifestException("$where: expected $wanted, found ${shown.take(60)}")
        }
    }
}
