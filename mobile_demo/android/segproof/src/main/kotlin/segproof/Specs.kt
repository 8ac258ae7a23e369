// The contracts as data; docs/spec-format.md says what each field means.
package segproof

/** Channel order of the tensor. */
public enum class ColorOrder { RGB, BGR, GRAY }

/** How the region of interest meets the network's size. */
public enum class ResizePolicy { STRETCH, LETTERBOX, CENTER_CROP }

/** How pictures are resized. */
public enum class Interpolation { LINEAR_EXACT, NEAREST }

/** What happens before resizing. */
public enum class Reduction { NONE, HALVE }

/** Order of the input tensor's axes. */
public enum class InputLayout { NCHW, NHWC }

/** Type of the input tensor's values. */
public enum class InputType { FLOAT32, UINT8 }

/** How a picture becomes the network's input tensor, versions 1 and 2. */
public data class PreprocessSpec(
    val size: Size,
    val color: ColorOrder,
    val resize: ResizePolicy,
    val interpolation: Interpolation,
    val reduce: Reduction,
    val padValue: Int,
    val scale: Double,
    /** One a channel, in the order of [color], that of the prior last. */
    val mean: List<Double>,
    val std: List<Double>,
    val layout: InputLayout,
    val dtype: InputType,
    /** Pixel value of each label in the channel of the previous labels; empty without such a channel. */
    val priorValues: List<Int> = emptyList(),
) {
    /** Whether the label map of the previous frame is the last channel. */
    val hasPrior: Boolean get() = priorValues.isNotEmpty()

    /** Number of channels handed to the network. */
    val channels: Int get() = (if (color == ColorOrder.GRAY) 1 else 3) + (if (hasPrior) 1 else 0)

    /** Shape of the tensor for one picture, in the order of [layout]. */
    val shape: List<Int>
        get() = when (layout) {
            InputLayout.NCHW -> listOf(1, channels, size.height, size.width)
            InputLayout.NHWC -> listOf(1, size.height, size.width, channels)
        }
}

/** What is carried back to source size: labels by nearest neighbour, or scores bilinearly. */
public enum class Restoring { LABELS, LOGITS }

/** From the network's output to labels of the picture. */
public data class PostprocessSpec(
    val resize: Restoring,
    /** Label of source pixels outside the region. */
    val outsideLabel: Int,
    /** Whether the contract refines the scores with a CRF, which this library does not do. */
    val hasCrf: Boolean,
)

/** What a tensor holds. */
public enum class TensorRole { IMAGE, LOGITS, LABELS }

/** Order of a tensor's axes. */
public enum class TensorLayout { NCHW, NHWC, NHW }

/** Type of a tensor's values. */
public enum class TensorType { FLOAT32, FLOAT16, UINT8, INT32, INT64 }

/** One tensor at the artifact's border. */
public data class TensorSpec(
    val name: String,
    val role: TensorRole,
    val shape: List<Int>,
    val dtype: TensorType,
    val layout: TensorLayout,
) {
    /** Height and width. */
    val size: Size get() = if (layout == TensorLayout.NCHW) Size(shape[2], shape[3]) else Size(shape[1], shape[2])

    /** Number of values. */
    val count: Long get() = shape.fold(1L) { product, side -> product * side }
}

/** The classes of a task, indexed as in label maps. */
public data class LabelSet(
    val names: List<String>,
    /** One colour 0xFFRRGGBB a class. */
    val palette: List<Int>,
    val ignoreIndex: Int,
    /** Classes that trade places when a picture is mirrored. */
    val flipPairs: List<Pair<Int, Int>>,
)

/** The artifact's file; [bytes] and [sha256] are null in the copy inside the artifact. */
public data class ArtifactInfo(
    val file: String,
    val target: String,
    val precision: String,
    val bytes: Long?,
    val sha256: String?,
)

/** Which network it is. */
public data class ModelInfo(val name: String, val numClasses: Int, val inChannels: Int, val options: Map<String, Any?>)

/** Which steps of the contract are inside the graph and not its caller's. */
public data class GraphInfo(val scaling: Boolean, val normalisation: Boolean, val argmax: Boolean)
