// What adapters/ calls of LiteRT 2, declared after its public reference; see Android.kt.
@file:Suppress("UNUSED_PARAMETER")

package com.google.ai.edge.litert

public enum class Accelerator { NONE, CPU, GPU, NPU }

public abstract class TensorBuffer : AutoCloseable {
    public abstract fun writeFloat(data: FloatArray)

    public abstract fun writeInt8(data: ByteArray)

    public abstract fun readFloat(): FloatArray

    public abstract fun readInt8(): ByteArray

    public abstract fun readInt(): IntArray
}

public abstract class CompiledModel : AutoCloseable {
    public class Options(accelerators: Set<Accelerator>)

    public abstract fun createInputBuffers(signatureIndex: Int = 0): List<TensorBuffer>

    public abstract fun createOutputBuffers(signatureIndex: Int = 0): List<TensorBuffer>

    public abstract fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>, signatureIndex: Int = 0)

    public companion object {
        public fun create(filePath: String, options: Options): CompiledModel = TODO("a declaration")
    }
}
