// Runs in an Android project only. Here it is compiled against declarations/, by build.sh.
package segproof.android

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.nio.ByteBuffer
import java.nio.FloatBuffer
import segproof.ArtifactException
import segproof.Backend
import segproof.Manifest
import segproof.Values

/** An `.onnx` artifact, given as its bytes, in ONNX Runtime for Android. [options] choose threads and accelerators. */
public class OnnxRuntimeBackend(
    model: ByteArray,
    private val manifest: Manifest,
    options: OrtSession.SessionOptions = OrtSession.SessionOptions(),
) : Backend {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession(model, options)
    private val shape = manifest.inputs[0].shape.map { it.toLong() }.toLongArray()

    override fun run(input: Values): Values = open(input).use { tensor ->
        val output = manifest.outputs[0].name
        session.run(mapOf(manifest.inputs[0].name to tensor), setOf(output)).use { read(it[0] as OnnxTensor) }
    }

    override fun close(): Unit = session.close()

    private fun open(input: Values): OnnxTensor = when (input) {
        is Values.Floats -> OnnxTensor.createTensor(environment, FloatBuffer.wrap(input.data), shape)
        is Values.Bytes -> OnnxTensor.createTensor(environment, ByteBuffer.wrap(input.data), shape, OnnxJavaType.UINT8)
        else -> throw ArtifactException("input: pictures are floats or bytes")
    }

    private fun read(output: OnnxTensor): Values = when (output.info.type) {
        OnnxJavaType.FLOAT -> output.floatBuffer.let { Values.Floats(FloatArray(it.remaining()).also(it::get)) }
        OnnxJavaType.UINT8 -> output.byteBuffer.let { Values.Bytes(ByteArray(it.remaining()).also(it::get)) }
        OnnxJavaType.INT32 -> output.intBuffer.let { Values.Ints(IntArray(it.remaining()).also(it::get)) }
        OnnxJavaType.INT64 -> output.longBuffer.let { Values.Longs(LongArray(it.remaining()).also(it::get)) }
        else -> throw ArtifactException("output \"${manifest.outputs[0].name}\": cannot read ${output.info.type}")
    }
}
