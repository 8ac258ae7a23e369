package segproof

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class ManifestTest {
    @Test
    fun fieldsAreRead() {
        val manifest = Manifest.parse(MANIFEST)
        assertEquals(ArtifactInfo("tiny.onnx", "onnx", "fp32", 3L, null), manifest.artifact)
        assertEquals(mapOf("aux" to true, "rates" to listOf(1L, 2L)), manifest.model.options)
        assertEquals(Size(4, 6), manifest.preprocess.size)
        assertEquals(1.0 / 255.0, manifest.preprocess.scale, 0.0)
        assertEquals(PostprocessSpec(Restoring.LABELS, 0, hasCrf = false), manifest.postprocess)
        assertEquals(listOf(0xFF000000.toInt(), 0xFFFF0001.toInt(), 0xFF0203FF.toInt()), manifest.labels.palette)
        assertEquals(listOf(1 to 2), manifest.labels.flipPairs)
        assertEquals(Size(2, 3), manifest.outputs[0].size)
        assertEquals(mapOf("when" to "2024-05-01", "none" to null), manifest.provenance)
    }

    @Test
    fun priorIsRead() {
        val preprocess = Manifest.parse(changed(*WITH_PRIOR)).preprocess
        assertTrue(preprocess.hasPrior)
        assertEquals(4, preprocess.channels)
    }

    @Test
    fun crfIsNoticed() {
        val crf = "\"outside_label\": 0, \"crf\": {\"iterations\": 2}"
        assertTrue(Manifest.parse(changed("\"outside_label\": 0" to crf)).postprocess.hasCrf)
    }

    @Test
    fun everyFieldIsWantedByItsOwnName() {
        val names = Regex("\"([a-z_0-9]+)\": ").findAll(MANIFEST).map { it.groupValues[1] }
        val free = setOf("aux", "rates", "when", "none") // of options and provenance, which may hold anything
        val wanted = names.filter { it !in free }.toList()
        assertTrue(wanted.size > 40)
        for (name in wanted.toSet()) {
            val message = if (name == "schema_version") "missing field" else "field"
            assertRefused<ManifestException>(message) { Manifest.parse(changed("\"$name\": " to "\"${name}_\": ")) }
        }
    }

    @Test
    fun unknownFieldsAreRefusedEverywhere() {
        val objects = listOf("artifact", "model", "preprocess", "postprocess", "labels", "graph")
        for (name in objects) {
            assertRefused<ManifestException>("manifest.$name.more: unknown field") {
                Manifest.parse(changed("\"$name\": {" to "\"$name\": {\"more\": 1, "))
            }
        }
        for (name in listOf("inputs", "outputs")) {
            assertRefused<ManifestException>("manifest.$name[0].more: unknown field") {
                Manifest.parse(changed("\"$name\": [{" to "\"$name\": [{\"more\": 1, "))
            }
        }
        assertRefused<ManifestException>("manifest.more: unknown field") {
            Manifest.parse(changed("{" to "{\"more\": 1, "))
        }
    }

    @Test
    fun wrongValuesAreRefusedByName() {
        val wrong = listOf(
            "[4, 6], \"color\"" to "[4], \"color\"" to "size_hw",
            "[4, 6], \"color\"" to "[4, 0], \"color\"" to "size_hw[1]",
            "[4, 6], \"color\"" to "[4, 6.5], \"color\"" to "size_hw[1]",
            "[4, 6], \"color\"" to "[4, 100000], \"color\"" to "size_hw[1]",
            "\"rgb\"" to "\"RGB\"" to "preprocess.color",
            "\"linear_exact\"" to "\"cubic\"" to "preprocess.interpolation",
            "114" to "256" to "preprocess.pad_value",
            "114" to "true" to "preprocess.pad_value",
            "0.00392156862745098" to "0" to "scale and std must be positive",
            "0.00392156862745098" to "\"1/255\"" to "preprocess.scale",
            "0.00392156862745098" to "1e999" to "preprocess.scale",
            "[1, 1, 1]" to "[1, -1, 1]" to "scale and std must be positive",
            "[0.5, 0.5, 0.5]" to "[0.5, 0.5]" to "preprocess.mean",
            "\"float32\", \"version\"" to "\"uint8\", \"version\"" to "uint8 tensors need scale 1",
            "\"version\": 1}" to "\"version\": 2}" to "preprocess.version",
            "\"version\": 1}" to "\"version\": 3}" to "preprocess.version",
            "\"version\": 1}" to "\"version\": 1, \"prior\": \"next\"}" to "preprocess.prior",
            "\"version\": 1}" to "\"version\": 1, \"prior_values\": [1]}" to "preprocess.prior_values",
            "\"outside_label\": 0" to "\"outside_label\": -1" to "outside_label",
            "\"outside_label\": 0" to "\"outside_label\": 0, \"crf\": 3" to "postprocess.crf",
            "\"outside_label\": 0" to "\"outside_label\": 0, \"crf\": {\"rounds\": 3}" to "crf.rounds: unknown field",
            "\"outside_label\": 0" to "\"outside_label\": 0, \"crf\": {\"scale\": \"2\"}" to "postprocess.crf.scale",
            "\"num_classes\": 3" to "\"num_classes\": 4" to "manifest.labels",
            "\"num_classes\": 3" to "\"num_classes\": 1" to "num_classes",
            "\"left\"" to "\"right\"" to "labels.names",
            "[[1, 2]]" to "[[1, 3]]" to "flip_pairs",
            "[[1, 2]]" to "[[1, 1]]" to "flip_pairs",
            "[255, 0, 1]" to "[255, 0]" to "palette[1]",
            "\"argmax\": false" to "\"argmax\": 0" to "graph.argmax",
            "[1, 3, 4, 6]" to "[1, 3, 6, 4]" to "inputs[0]",
            "[1, 3, 2, 3]" to "[1, 3, 2]" to "outputs[0].shape",
            "[1, 3, 2, 3]" to "[2, 3, 2, 3]" to "outputs[0]",
            "[1, 3, 2, 3]" to "[1, 4, 2, 3]" to "4 channels for 3 classes",
            "[1, 3, 2, 3]" to "[1, 3, 3, 3]" to "no whole fraction",
            "\"role\": \"logits\"" to "\"role\": \"labels\"" to "outputs[0]",
            "\"fp32\"" to "\"fp8\"" to "artifact.precision",
            "\"bytes\": 3" to "\"bytes\": 0" to "artifact.bytes",
            "\"sha256\": null" to "\"sha256\": 7" to "artifact.sha256",
            "\"schema_version\": 1" to "\"schema_version\": 2" to "this library reads version 1, found 2",
            "\"provenance\": {" to "\"provenance\": [{" to "not valid JSON",
        )
        for ((change, words) in wrong) {
            assertRefused<ManifestException>(words) { Manifest.parse(changed(change), "tiny.onnx.json") }
        }
    }

    @Test
    fun damagedTextIsRefusedAndNothingElseHappens() {
        val noise = drawBytes(7, 4 * 4000).map { it.toInt() and 255 }
        val signs = "{}[]\",:0123456789-.eEu\\ntfax\u0000é"
        var refused = 0
        for (i in 0 until 4000) {
            val at = (noise[4 * i] * 256 + noise[4 * i + 1]) % MANIFEST.length
            val sign = signs[noise[4 * i + 2] % signs.length]
            val damaged = when (noise[4 * i + 3] % 3) {
                0 -> MANIFEST.substring(0, at)
                1 -> MANIFEST.replaceRange(at, at + 1, sign.toString())
                else -> MANIFEST.removeRange(at, minOf(at + 9, MANIFEST.length))
            }
            try {
                Manifest.parse(damaged)
            } catch (_: ManifestException) {
                refused++
            }
        }
        assertTrue("only $refused", refused in 3000..3999)
    }

    @Test
    fun messagesNameTheFile() {
        assertRefused<ManifestException>("a.json: manifest: expected an object, found []") {
            Manifest.parse("[]", "a.json")
        }
    }

    @Test
    fun artifactIsComparedWithItsManifest() {
        val hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // of "abc"
        val manifest = Manifest.parse(changed("\"sha256\": null" to "\"sha256\": \"$hash\""))
        manifest.verify("abc".byteInputStream())
        assertRefused<ArtifactException>("SHA-256") { manifest.verify("abd".byteInputStream()) }
        assertRefused<ArtifactException>("2 bytes") { manifest.verify("ab".byteInputStream()) }
    }
}
