// What adapters/ calls of ONNX Runtime's Java interface, declared after its public reference; see Android.kt.
@file:Suppress("UNUSED_PARAMETER")

package ai.onnxruntime

import java.nio.ByteBuffer
import java.nio.FloatBuffer
import java.nio.IntBuffer
import java.nio.LongBuffer

public enum class OnnxJavaType { FLOAT, DOUBLE, INT8, INT16, INT32, INT64, BOOL, STRING, UINT8, FLOAT16, BFLOAT16, UNKNOWN }

public abstract class OrtEnvironment : AutoCloseable {
    public abstract fun createSession(model: ByteArray, options: OrtSession.SessionOptions): OrtSession

    public companion object {
        public fun getEnvironment(): OrtEnvironment = TODO("a declaration")
    }
}

public interface OnnxValue : AutoCloseable

public abstract class TensorInfo {
    public abstract val type: OnnxJavaType
}

public abstract class OnnxTensor : OnnxValue {
    public abstract val info: TensorInfo
    public abstract val floatBuffer: FloatBuffer
    public abstract val byteBuffer: ByteBuffer
    public abstract val intBuffer: IntBuffer
    public abstract val longBuffer: LongBuffer

    public companion object {
        public fun createTensor(env: OrtEnvironment, data: FloatBuffer, shape: LongArray): OnnxTensor = TODO("a declaration")

        public fun createTensor(env: OrtEnvironment, data: ByteBuffer, shape: LongArray, type: OnnxJavaType): OnnxTensor =
            TODO("a declaration")
    }
}

public abstract class OrtSession : AutoCloseable {
    public class SessionOptions : AutoCloseable {
        override fun close(): Unit = Unit
    }

    public abstract class Result : AutoCloseable {
        public abstract operator fun get(index: Int): OnnxValue
    }

    public abstract fun run(inputs: Map<String, OnnxTensor>, requestedOutputs: Set<String>): Result
}
