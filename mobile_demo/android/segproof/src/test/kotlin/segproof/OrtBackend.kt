// Real inference for the tests: ONNX Runtime's C API, from the shared library inside its Python wheel, called by JNA.
// Apps use the runtime's own Java interface (adapters/), which has no package outside Maven.
package segproof

import com.sun.jna.Function
import com.sun.jna.Memory
import com.sun.jna.NativeLibrary
import com.sun.jna.Pointer
import com.sun.jna.ptr.LongByReference
import com.sun.jna.ptr.PointerByReference

/** One ONNX file; [library] is the path of libonnxruntime. */
internal class OrtBackend(library: String, model: String, private val manifest: Manifest) : Backend {
    private val functions: Pointer
    private val env: Pointer
    private val session: Pointer
    private val memoryInfo: Pointer

    init {
        val base = NativeLibrary.getInstance(library).getFunction("OrtGetApiBase").invokePointer(emptyArray())
        functions = Function.getFunction(base.getPointer(0)).invokePointer(arrayOf(API_VERSION))
        env = make(CREATE_ENV, 3, "segproof")
        val options = make(CREATE_SESSION_OPTIONS)
        session = make(CREATE_SESSION, env, model, options)
        release(RELEASE_SESSION_OPTIONS, options)
        memoryInfo = make(CREATE_CPU_MEMORY_INFO, 1, 0)
    }

    override fun run(input: Values): Values {
        val spec = manifest.inputs[0]
        val data = toMemory(input)
        val shape = LongArray(spec.shape.size) { spec.shape[it].toLong() }
        val element = if (input is Values.Floats) FLOAT else UINT8
        val tensor = make(CREATE_TENSOR, memoryInfo, data, data.size(), shape, shape.size.toLong(), element)
        val (inputs, outputs) = arrayOf(tensor) to arrayOfNulls<Pointer>(1)
        val names = listOf(spec.name, manifest.outputs[0].name).map { arrayOf(it) }
        call(RUN, session, null, names[0], inputs, 1L, names[1], 1L, outputs)
        val found = checkNotNull(outputs[0])
        try {
            return read(found)
        } finally {
            release(RELEASE_VALUE, found)
            release(RELEASE_VALUE, tensor)
        }
    }

    override fun close() {
        release(RELEASE_MEMORY_INFO, memoryInfo)
        release(RELEASE_SESSION, session)
        release(RELEASE_ENV, env)
    }

    private fun toMemory(values: Values): Memory = when (values) {
        is Values.Floats -> Memory(values.count * 4L).also { it.write(0, values.data, 0, values.count) }
        is Values.Bytes -> Memory(values.count.toLong()).also { it.write(0, values.data, 0, values.count) }
        else -> error("no input has integers")
    }

    private fun read(value: Pointer): Values {
        val info = make(GET_TENSOR_TYPE_AND_SHAPE, value)
        val count = LongByReference().also { call(GET_ELEMENT_COUNT, info, it) }.value.toInt()
        val element = LongByReference().also { call(GET_ELEMENT_TYPE, info, it) }.value.toInt()
        release(RELEASE_TYPE_INFO, info)
        val data = make(GET_DATA, value)
        return when (element) {
            FLOAT -> Values.Floats(data.getFloatArray(0, count))
            UINT8 -> Values.Bytes(data.getByteArray(0, count))
            INT32 -> Values.Ints(data.getIntArray(0, count))
            INT64 -> Values.Longs(data.getLongArray(0, count))
            else -> error("element type $element")
        }
    }

    private fun function(index: Int) = Function.getFunction(functions.getPointer(8L * index))

    private fun call(index: Int, vararg arguments: Any?) {
        val status = function(index).invokePointer(arguments) ?: return
        val message = function(GET_ERROR_MESSAGE).invokePointer(arrayOf(status)).getString(0)
        release(RELEASE_STATUS, status)
        throw ArtifactException("ONNX Runtime: ${message.lines().first()}")
    }

    private fun make(index: Int, vararg arguments: Any?): Pointer =
        PointerByReference().also { call(index, *arguments, it) }.value

    private fun release(index: Int, handle: Pointer): Unit = function(index).invokeVoid(arrayOf(handle))

    /** Places in the table `OrtApi` of onnxruntime_c_api.h, which only ever grows at its end; and element types. */
    private companion object {
        const val API_VERSION = 16
        const val GET_ERROR_MESSAGE = 2
        const val CREATE_ENV = 3
        const val CREATE_SESSION = 7
        const val RUN = 9
        const val CREATE_SESSION_OPTIONS = 10
        const val CREATE_TENSOR = 49
        const val GET_DATA = 51
        const val GET_ELEMENT_TYPE = 60
        const val GET_ELEMENT_COUNT = 64
        const val GET_TENSOR_TYPE_AND_SHAPE = 65
        const val CREATE_CPU_MEMORY_INFO = 69
        const val RELEASE_ENV = 92
        const val RELEASE_STATUS = 93
        const val RELEASE_MEMORY_INFO = 94
        const val RELEASE_SESSION = 95
        const val RELEASE_VALUE = 96
        const val RELEASE_TYPE_INFO = 99
        const val RELEASE_SESSION_OPTIONS = 100
        const val FLOAT = 1
        const val UINT8 = 2
        const val INT32 = 6
        const val INT64 = 7
    }
}
