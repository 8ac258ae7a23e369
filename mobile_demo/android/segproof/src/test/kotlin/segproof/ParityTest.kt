package segproof

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** Labels of real networks on real pictures, against Python's; the material is written by test_kotlin_demo.py. */
class ParityTest {
    private val folder = File(System.getProperty("segproof.material"))
    private val cases = Fields.of(parseJson(folder.resolve("cases.json").readText()), "cases")

    private fun each(name: String, check: (Fields) -> Unit): Int =
        cases.list(name) { value, where -> check(Fields.of(value, where)) }.size

    private fun rect(fields: Fields, name: String): Rect? {
        if (fields.any(name) == null) return null
        val (top, left, height, width) = fields.integers(name, 0L..100_000L)
        return Rect(top, left, height, width)
    }

    private fun size(fields: Fields, name: String): Size =
        fields.integers(name, 1L..100_000L).let { (height, width) -> Size(height, width) }

    private fun picture(fields: Fields): Picture {
        val (height, width) = size(fields, "size_hw")
        return Picture.ofBytes(folder.resolve(fields.text("picture")).readBytes(), height, width, PixelOrder.BGR)
    }

    /** Runs ONNX files; of others gives what Python's runtime gave for the very same tensor. */
    private fun open(fields: Fields, manifest: Manifest): Backend {
        val model = folder.resolve(fields.text("model"))
        if (fields.any("recorded") == null) return OrtBackend(cases.text("onnxruntime"), model.path, manifest)
        val expected = fields.text("tensor_fnv1a64")
        val bytes = folder.resolve(fields.text("recorded")).readBytes()
        return object : Backend {
            override fun run(input: Values): Values {
                assertEquals(expected, hashValues(input))
                return decode(bytes, manifest.outputs[0].dtype)
            }

            override fun close() = Unit
        }
    }

    private fun decode(bytes: ByteArray, type: TensorType): Values {
        val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
        return when (type) {
            TensorType.FLOAT32 -> Values.Floats(FloatArray(bytes.size / 4) { buffer.getFloat() })
            TensorType.UINT8 -> Values.Bytes(bytes)
            TensorType.INT32 -> Values.Ints(IntArray(bytes.size / 4) { buffer.getInt() })
            TensorType.INT64 -> Values.Longs(LongArray(bytes.size / 8) { buffer.getLong() })
            TensorType.FLOAT16 -> error("not recorded in half precision")
        }
    }

    @Test
    fun labelsArePythons() {
        val count = each("networks") { fields ->
            val manifest = Manifest.parse(folder.resolve(fields.text("model") + ".json").readText())
            folder.resolve(fields.text("model")).inputStream().use(manifest::verify)
            val picture = picture(fields)
            val roi = rect(fields, "roi")
            val tensor = Preprocessor(manifest.preprocess).prepare(picture, roi).tensor
            assertEquals(fields.text("tensor_fnv1a64"), hashValues(tensor))
            val expected = folder.resolve(fields.text("labels")).readBytes()
            Segmenter(manifest, open(fields, manifest)).use { segmenter ->
                val found = segmenter.label(picture, roi)
                assertTrue(found.labels.toSet().size > 5) // a face has parts
                val wrong = expected.indices.count { expected[it] != found.labels[it] }
                val name = "${fields.text("model")} on ${fields.text("picture")} $roi"
                println("$name: $wrong of ${expected.size} labels differ")
                assertEquals(expected.size, found.labels.size)
                assertTrue(wrong <= fields.integer("may_differ", 0L..100_000L))
            }
        }
        assertTrue(count >= 6)
    }

    @Test
    fun outputsOfEveryKindBecomePythonsLabels() {
        val count = each("outputs") { fields ->
            val spec = readPreprocess(fields.fields("preprocess"))
            val output = readTensor(fields.fields("output"))
            val values = decode(folder.resolve(fields.text("values")).readBytes(), output.dtype)
            val geometry = Geometry.plan(size(fields, "source"), spec, rect(fields, "roi"))
            val found = Postprocessor(readPostprocess(fields.fields("postprocess")), output).label(values, geometry)
            val where = fields.text("values")
            assertArrayEquals(where, folder.resolve("$where.network").readBytes(), found.network)
            assertArrayEquals(where, folder.resolve("$where.source").readBytes(), found.source)
        }
        assertTrue(count >= 40)
    }

    @Test
    fun previousLabelsAreFedAsPythonFeedsThem() {
        val count = each("priors") { fields ->
            val spec = readPreprocess(fields.fields("spec"))
            val seed = fields.integer("seed", 1L..1_000_000L).toInt()
            val labels = drawBytes(seed, spec.size.height * spec.size.width)
            for (i in labels.indices) labels[i] = (labels[i].toInt() and 3).toByte()
            val before = Geometry.plan(size(fields, "before"), spec, rect(fields, "roi_before"))
            val picture = drawPicture(seed, size(fields, "after"))
            val found = Preprocessor(spec).prepare(picture, rect(fields, "roi_after")) { after ->
                carryLabels(labels, before, after)
            }
            assertEquals(fields.text("fnv1a64"), hashValues(found.tensor))
        }
        assertTrue(count >= 60)
    }

    @Test
    fun manifestsAreRefusedWherePythonRefusesThem() {
        val count = each("refused") { fields ->
            assertRefused<ManifestException>(fields.text("words")) { Manifest.parse(fields.text("text")) }
        }
        assertTrue(count >= 6)
    }

    @Test
    fun damagedNetworkIsRefusedInOneLine() {
        val damaged = folder.resolve("damaged.onnx").apply { writeText("not a network") }
        val name = Fields.of((cases.any("networks") as List<*>)[0], "network").text("model")
        val manifest = Manifest.parse(folder.resolve("$name.json").readText())
        assertRefused<ArtifactException>("13 bytes") { damaged.inputStream().use(manifest::verify) }
        assertRefused<ArtifactException>("ONNX Runtime") {
            OrtBackend(cases.text("onnxruntime"), damaged.path, manifest)
        }
    }
}
