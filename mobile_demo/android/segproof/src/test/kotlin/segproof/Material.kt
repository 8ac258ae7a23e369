// A small manifest and what the tests do to it.
package segproof

import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue

/** A network of three classes on 4x6 pixels that gives scores at half its size. */
internal const val MANIFEST = """{
  "artifact": {"file": "tiny.onnx", "target": "onnx", "precision": "fp32", "bytes": 3, "sha256": null},
  "model": {"name": "tiny", "num_classes": 3, "in_channels": 3, "options": {"aux": true, "rates": [1, 2]}},
  "preprocess": {"size_hw": [4, 6], "color": "rgb", "resize": "letterbox", "interpolation": "linear_exact",
    "reduce": "none", "pad_value": 114, "scale": 0.00392156862745098, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1],
    "layout": "nchw", "dtype": "float32", "version": 1},
  "postprocess": {"resize": "labels", "outside_label": 0},
  "labels": {"names": ["none", "left", "right"], "palette": [[0, 0, 0], [255, 0, 1], [2, 3, 255]],
    "ignore_index": 255, "flip_pairs": [[1, 2]]},
  "graph": {"scaling": false, "normalisation": false, "argmax": false},
  "inputs": [{"name": "image", "role": "image", "shape": [1, 3, 4, 6], "dtype": "float32", "layout": "nchw"}],
  "outputs": [{"name": "logits", "role": "logits", "shape": [1, 3, 2, 3], "dtype": "float32", "layout": "nchw"}],
  "provenance": {"when": "2024-05-01", "none": null},
  "schema_version": 1
}"""

/** The manifest with parts of its text replaced; each must be there. */
internal fun changed(vararg changes: Pair<String, String>): String = changes.fold(MANIFEST) { text, (old, new) ->
    assertTrue("the manifest has no $old", old in text)
    text.replaceFirst(old, new)
}

/** Replacements that give the network a channel of the previous labels. */
internal val WITH_PRIOR = arrayOf(
    "\"version\": 1}" to "\"version\": 2, \"prior\": \"previous_labels\", \"prior_values\": [85, 170, 255]}",
    "[0.5, 0.5, 0.5]" to "[0.5, 0.5, 0.5, 0]",
    "[1, 1, 1]" to "[1, 1, 1, 0.25]",
    "[1, 3, 4, 6]" to "[1, 4, 4, 6]",
)

/** Run [action], which must fail with an [E] whose message holds [words]. */
internal inline fun <reified E : SegproofException> assertRefused(words: String, crossinline action: () -> Unit) {
    val error = assertThrows(E::class.java) { action() }
    assertTrue("says \"${error.message}\" instead of \"$words\"", words in error.message!!)
    assertTrue("more than one line: ${error.message}", '\n' !in error.message!!)
}
