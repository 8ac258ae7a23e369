// Runs in an Android project only. Here it is compiled against declarations/, by build.sh.
package segproof.android

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import segproof.ArtifactException
import segproof.Backend
import segproof.Manifest
import segproof.TensorType
import segproof.Values

/** A `.tflite` artifact, given by the path of its file, in LiteRT. What [accelerator] cannot run, the CPU does. */
public class LiteRtBackend(
    path: String,
    private val manifest: Manifest,
    accelerator: Accelerator = Accelerator.CPU,
) : Backend {
    private val model = CompiledModel.create(path, CompiledModel.Options(setOf(accelerator, Accelerator.CPU)))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    override fun run(input: Values): Values {
        when (input) {
            is Values.Floats -> inputs[0].writeFloat(input.data)
            is Values.Bytes -> inputs[0].writeInt8(input.data)
            else -> throw ArtifactException("input: pictures are floats or bytes")
        }
        model.run(inputs, outputs)
        val output = manifest.outputs[0]
        return when (output.dtype) {
            TensorType.FLOAT32 -> Values.Floats(outputs[0].readFloat())
            TensorType.UINT8 -> Values.Bytes(outputs[0].readInt8())
            TensorType.INT32 -> Values.Ints(outputs[0].readInt())
            else -> throw ArtifactException("output \"${output.name}\": LiteRT gives no ${output.dtype}")
        }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }
}
