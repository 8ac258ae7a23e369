// The manifest, read strictly: a damaged or newer one fails with one line instead of a wrong mask.
package segproof

private const val MANIFEST_VERSION = 1L
private val BYTE = 0L..255L
private val COUNT = 1L..Int.MAX_VALUE
private val CRF_FIELDS = listOf(
    "iterations", "smoothness_weight", "smoothness_sigma_px", "appearance_weight", "appearance_sigma_px",
    "appearance_sigma_bgr", "scale", "label_confidence",
)

internal fun readManifest(root: Any?): Manifest {
    val fields = Fields.of(root, "manifest")
    val version = if (fields.has("schema_version")) fields.any("schema_version") else MANIFEST_VERSION
    if (version != MANIFEST_VERSION) {
        throw ManifestException("manifest.schema_version: this library reads version 1, found $version")
    }
    fields.any("schema_version")
    val manifest = Manifest(
        artifact = readArtifact(fields.fields("artifact")),
        model = readModel(fields.fields("model")),
        preprocess = readPreprocess(fields.fields("preprocess")),
        postprocess = readPostprocess(fields.fields("postprocess")),
        labels = readLabels(fields.fields("labels")),
        graph = readGraph(fields.fields("graph")),
        inputs = fields.list("inputs") { value, where -> readTensor(Fields.of(value, where)) },
        outputs = fields.list("outputs") { value, where -> readTensor(Fields.of(value, where)) },
        provenance = fields.map("provenance"),
    )
    fields.finish()
    checkAgreement(manifest)
    return manifest
}

private fun readArtifact(fields: Fields): ArtifactInfo {
    val precision = fields.oneOf("precision", "fp32", "fp16", "int8")
    return ArtifactInfo(
        file = fields.text("file"),
        target = fields.text("target"),
        precision = precision,
        bytes = if (fields.any("bytes") == null) null else fields.integer("bytes", 1L..Long.MAX_VALUE),
        sha256 = if (fields.any("sha256") == null) null else fields.text("sha256"),
    ).also { fields.finish() }
}

private fun readModel(fields: Fields) = ModelInfo(
    name = fields.text("name"),
    numClasses = fields.integer("num_classes", 2L..255L).toInt(),
    inChannels = fields.integer("in_channels", COUNT).toInt(),
    options = fields.map("options"),
).also { fields.finish() }

internal fun readPreprocess(fields: Fields): PreprocessSpec {
    val sides = fields.integers("size_hw", 1L..8192L)
    if (sides.size != 2) Fields.refuse(fields.path("size_hw"), "height and width", sides)
    val prior = if (fields.has("prior")) fields.oneOf("prior", "none", "previous_labels") else "none"
    val values = if (fields.has("prior_values")) fields.integers("prior_values", BYTE) else emptyList()
    val version = fields.integer("version", 1L..2L)
    if (version != (if (prior == "none") 1L else 2L)) {
        throw ManifestException("${fields.path("version")}: prior $prior is not of version $version")
    }
    if (values.isEmpty() != (prior == "none") || values.size > 255) {
        throw ManifestException("${fields.path("prior_values")}: prior $prior has ${values.size} values")
    }
    val spec = PreprocessSpec(
        size = Size(sides[0], sides[1]),
        color = fields.choice("color"),
        resize = fields.choice("resize"),
        interpolation = fields.choice("interpolation"),
        reduce = fields.choice("reduce"),
        padValue = fields.integer("pad_value", BYTE).toInt(),
        scale = fields.number("scale"),
        mean = fields.numbers("mean"),
        std = fields.numbers("std"),
        layout = fields.choice("layout"),
        dtype = fields.choice("dtype"),
        priorValues = values,
    )
    fields.finish()
    checkConstants(spec, fields)
    return spec
}

private fun checkConstants(spec: PreprocessSpec, fields: Fields) {
    for ((name, values) in listOf("mean" to spec.mean, "std" to spec.std)) {
        if (values.size != spec.channels) {
            throw ManifestException("${fields.path(name)}: ${values.size} values for ${spec.channels} channel(s)")
        }
    }
    if (!(spec.scale > 0) || spec.std.any { !(it > 0) }) {
        throw ManifestException("${fields.path("std")}: scale and std must be positive")
    }
    val raw = spec.scale == 1.0 && spec.mean.all { it == 0.0 } && spec.std.all { it == 1.0 }
    if (spec.dtype == InputType.UINT8 && !raw) {
        throw ManifestException("${fields.path("dtype")}: uint8 tensors need scale 1, mean 0 and std 1")
    }
}

internal fun readPostprocess(fields: Fields) = PostprocessSpec(
    resize = fields.choice("resize"),
    outsideLabel = fields.integer("outside_label", BYTE).toInt(),
    hasCrf = fields.has("crf") && fields.any("crf") != null && checkCrf(fields.fields("crf")),
).also { fields.finish() }

/** Of a CRF only the names are checked: it is not applied. */
private fun checkCrf(fields: Fields): Boolean {
    CRF_FIELDS.filter(fields::has).forEach(fields::number)
    fields.finish()
    return true
}

private fun readLabels(fields: Fields): LabelSet {
    val names = fields.list("names") { value, where -> value as? String ?: Fields.refuse(where, "text", value) }
    if (names.size < 2 || names.toSet().size != names.size) {
        throw ManifestException("${fields.path("names")}: expected at least two distinct names")
    }
    val palette = fields.list("palette") { value, where ->
        val (red, green, blue) = readTuple(value, where, 3)
        (255 shl 24) or (red shl 16) or (green shl 8) or blue
    }
    val pairs = fields.list("flip_pairs") { value, where -> readTuple(value, where, 2).let { (a, b) -> a to b } }
    val flipped = pairs.flatMap { (a, b) -> listOf(a, b) }
    if (flipped.toSet().size != flipped.size || flipped.any { it >= names.size }) {
        throw ManifestException("${fields.path("flip_pairs")}: expected distinct classes")
    }
    return LabelSet(names, palette, fields.integer("ignore_index", BYTE).toInt(), pairs).also { fields.finish() }
}

private fun readTuple(value: Any?, where: String, length: Int): List<Int> {
    val found = Fields.asList(value, where) { item, path -> Fields.asInteger(item, path, BYTE).toInt() }
    return if (found.size == length) found else Fields.refuse(where, "$length integers", value)
}

private fun readGraph(fields: Fields) = GraphInfo(
    fields.truth("scaling"),
    fields.truth("normalisation"),
    fields.truth("argmax"),
).also { fields.finish() }

internal fun readTensor(fields: Fields): TensorSpec {
    val tensor = TensorSpec(
        name = fields.text("name"),
        role = fields.choice("role"),
        shape = fields.integers("shape", COUNT),
        dtype = fields.choice("dtype"),
        layout = fields.choice("layout"),
    )
    fields.finish()
    val rank = if (tensor.layout == TensorLayout.NHW) 3 else 4
    if (tensor.shape.size != rank) Fields.refuse(fields.path("shape"), "$rank sides", tensor.shape)
    return tensor
}

private fun checkAgreement(manifest: Manifest) {
    val (_, model, preprocess) = manifest
    val classes = model.numClasses
    if (manifest.labels.names.size != classes || manifest.labels.palette.size != classes) {
        throw ManifestException("manifest.labels: not one name and colour for each of $classes classes")
    }
    if (preprocess.hasPrior && preprocess.priorValues.size != classes) {
        throw ManifestException("manifest.preprocess.prior_values: not one for each of $classes classes")
    }
    if (manifest.inputs.size != 1 || manifest.outputs.isEmpty()) {
        throw ManifestException("manifest: this library runs artifacts with one input and at least one output")
    }
    val input = manifest.inputs[0]
    if (input.layout.name != preprocess.layout.name || input.shape != preprocess.shape) {
        throw ManifestException("manifest.inputs[0]: ${input.shape} is not what preprocess makes, ${preprocess.shape}")
    }
    checkOutput(manifest.outputs[0], preprocess.size, classes)
}

private fun checkOutput(output: TensorSpec, input: Size, classes: Int) {
    val isLabels = output.layout == TensorLayout.NHW
    if (output.shape[0] != 1 || output.role != (if (isLabels) TensorRole.LABELS else TensorRole.LOGITS)) {
        throw ManifestException("manifest.outputs[0]: no label map or scores of one picture (${output.shape})")
    }
    val channels = if (output.layout == TensorLayout.NCHW) output.shape[1] else output.shape.last()
    if (!isLabels && channels != classes) {
        throw ManifestException("manifest.outputs[0]: $channels channels for $classes classes")
    }
    if (input.height % output.size.height != 0 || input.width % output.size.width != 0) {
        throw ManifestException("manifest.outputs[0]: ${output.size} is no whole fraction of the input's $input")
    }
}
