package segproof

/** The values of one tensor, in the order of its layout. */
public sealed class Values {
    /** Number of values. */
    public abstract val count: Int

    /** Float32: normalised pixels, or scores. */
    public class Floats(public val data: FloatArray) : Values() {
        override val count: Int get() = data.size
    }

    /** Unsigned bytes: pixels, or labels. */
    public class Bytes(public val data: ByteArray) : Values() {
        override val count: Int get() = data.size
    }

    /** Int32 labels. */
    public class Ints(public val data: IntArray) : Values() {
        override val count: Int get() = data.size
    }

    /** Int64 labels. */
    public class Longs(public val data: LongArray) : Values() {
        override val count: Int get() = data.size
    }
}

/** A runtime with one network open: ONNX Runtime Mobile, LiteRT, or what else runs the artifact. */
public interface Backend : AutoCloseable {
    /** Run the network on the tensor of the manifest's first input; returns that of its first output. */
    public fun run(input: Values): Values
}
