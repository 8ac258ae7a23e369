// What a video network is told of its last answer, as seg_core/prior.py.
package segproof

/** Label of pixels about which the previous frame says nothing. */
public const val UNKNOWN_LABEL: Int = 255

/**
 * Return the labels of a frame seen by [before] as the prior of one seen by [after], both at the network's size; null
 * when the pictures differ in size. Padding is always unknown. Raises [ImageException] as [restoreLabels] does.
 */
public fun carryLabels(labels: ByteArray, before: Geometry, after: Geometry): ByteArray? {
    checkLabels(labels, before.size)
    if (before.source != after.source) return null
    val carried = ByteArray(after.size.height * after.size.width) { UNKNOWN_LABEL.toByte() }
    if (before == after) {
        copyNearest(labels, after.size.width, after.content, carried, after.size.width, after.content)
        return carried
    }
    val atSource = restoreLabels(before, labels, UNKNOWN_LABEL)
    copyNearest(atSource, after.source.width, after.box, carried, after.size.width, after.content)
    return carried
}
