#include "segproof/manifest.hpp"

#include <cmath>
#include <set>

#include "json_object.hpp"
#include "segproof/error.hpp"

namespace segproof {
namespace {

constexpr std::size_t kLargestText = std::size_t{16} << 20U;
constexpr std::int64_t kLongestSide = 8192;
constexpr std::size_t kMostPixels = std::size_t{1} << 24U;  // of a network's input: 4096 x 4096
constexpr std::int64_t kLongestAxis = std::int64_t{1} << 28U;
constexpr std::int64_t kMostValues = std::int64_t{1} << 31U;
constexpr std::size_t kMostClasses = 255;

std::uint8_t to_byte(const Json& value, const std::string& where) {
    return static_cast<std::uint8_t>(JsonObject::to_integer(value, where, 0, 255));
}

std::uint8_t byte_of(const JsonObject& object, std::string_view name) {
    return to_byte(object.get(name), object.path(name));
}

ArtifactInfo read_artifact(const Json& value, const std::string& where) {
    const JsonObject object(value, where, {"file", "target", "precision", "bytes", "sha256"});
    ArtifactInfo artifact;
    artifact.file = object.text("file");
    artifact.target = object.text("target");
    object.choice<int>("precision", {{"fp32", 0}, {"fp16", 1}, {"int8", 2}});
    if (object.has("bytes") && !object.get("bytes").is_null()) {
        artifact.bytes = object.integer("bytes", 0, std::int64_t{1} << 48U);
    }
    if (object.has("sha256") && !object.get("sha256").is_null()) artifact.sha256 = object.text("sha256");
    return artifact;
}

void read_prior(const JsonObject& object, PreprocessSpec& spec) {
    const bool prior =
        object.has("prior") && object.choice<bool>("prior", {{"none", false}, {"previous_labels", true}});
    if (object.has("prior_values")) spec.prior_values = object.list("prior_values", 0, kMostClasses, to_byte);
    if (prior != spec.has_prior()) {
        throw Error(object.path("prior_values") + ": expected " + (prior ? "one a class" : "none without a prior"));
    }
    const std::int64_t version = object.integer("version", 1, 2);
    if (version != (prior ? 2 : 1)) {
        throw Error(object.path("version") + ": a contract with" +
                    (prior ? " a prior is of version 2" : "out a prior is of version 1"));
    }
}

void read_normalisation(const JsonObject& object, PreprocessSpec& spec) {
    spec.scale = object.number("scale");
    spec.mean = object.list("mean", 1, 4, JsonObject::to_number);
    spec.deviation = object.list("std", 1, 4, JsonObject::to_number);
    const auto channels = static_cast<std::size_t>(spec.channels());
    if (spec.mean.size() != channels || spec.deviation.size() != channels) {
        throw Error(object.path("mean") + ": expected as many entries of mean and std as channels, " +
                    std::to_string(channels));
    }
    // As float32, in which it is used: a tiny double is zero there.
    bool raw = spec.scale == 1.0;
    bool right = static_cast<float>(spec.scale) > 0 && std::isfinite(static_cast<float>(spec.scale));
    for (std::size_t c = 0; c < channels; ++c) {
        const auto deviation = static_cast<float>(spec.deviation[c]);
        right = right && deviation > 0 && std::isfinite(deviation) && std::isfinite(static_cast<float>(spec.mean[c]));
        raw = raw && spec.mean[c] == 0.0 && spec.deviation[c] == 1.0;
    }
    if (!right)
        throw Error(object.path("scale") + ": scale and std must be positive, and all of them finite in float32");
    if (spec.dtype == DType::uint8 && !raw) {
        throw Error(object.path("dtype") + ": uint8 tensors need scale 1, mean 0 and std 1");
    }
}

PreprocessSpec read_preprocess(const Json& value, const std::string& where) {
    const JsonObject object(value, where,
                            {"size_hw", "color", "resize", "interpolation", "reduce", "pad_value", "scale", "mean",
                             "std", "layout", "dtype", "version", "prior", "prior_values"});
    PreprocessSpec spec;
    const auto side = [](const Json& entry, const std::string& at) {
        return static_cast<int>(JsonObject::to_integer(entry, at, 1, kLongestSide));
    };
    const std::vector<int> sides = object.list("size_hw", 2, 2, side);
    spec.size = {sides[0], sides[1]};
    if (spec.size.area() > kMostPixels) {
        throw Error(object.path("size_hw") + ": expected at most " + std::to_string(kMostPixels) + " pixels");
    }
    spec.color = object.choice<Color>("color", {{"rgb", Color::rgb}, {"bgr", Color::bgr}, {"gray", Color::gray}});
    spec.fit = object.choice<Fit>(
        "resize", {{"stretch", Fit::stretch}, {"letterbox", Fit::letterbox}, {"center_crop", Fit::center_crop}});
    spec.interpolation = object.choice<Interpolation>(
        "interpolation", {{"linear_exact", Interpolation::linear_exact}, {"nearest", Interpolation::nearest}});
    spec.halve = object.choice<bool>("reduce", {{"none", false}, {"halve", true}});
    spec.pad_value = byte_of(object, "pad_value");
    spec.layout = object.choice<Layout>("layout", {{"nchw", Layout::nchw}, {"nhwc", Layout::nhwc}});
    spec.dtype = object.choice<DType>("dtype", {{"float32", DType::float32}, {"uint8", DType::uint8}});
    read_prior(object, spec);
    read_normalisation(object, spec);
    return spec;
}

PostprocessSpec read_postprocess(const Json& value, const std::string& where) {
    const JsonObject object(value, where, {"resize", "outside_label", "crf"});
    PostprocessSpec spec;
    spec.resize_logits = object.choice<bool>("resize", {{"labels", false}, {"logits", true}});
    spec.outside_label = byte_of(object, "outside_label");
    if (object.has("crf") && !object.get("crf").is_null()) {
        if (!object.get("crf").is_object()) JsonObject::refuse(object.path("crf"), "an object", object.get("crf"));
        spec.has_crf = true;
    }
    return spec;
}

LabelSet read_labels(const Json& value, const std::string& where) {
    const JsonObject object(value, where, {"names", "palette", "ignore_index", "flip_pairs"});
    LabelSet labels;
    labels.names = object.list("names", 2, kMostClasses, JsonObject::to_text);
    if (std::set<std::string>(labels.names.begin(), labels.names.end()).size() != labels.names.size()) {
        throw Error(object.path("names") + ": expected distinct names");
    }
    const std::size_t count = labels.names.size();
    const auto colour = [](const Json& entry, const std::string& at) {
        const std::vector<std::uint8_t> rgb = JsonObject::to_list(entry, at, 3, 3, to_byte);
        return std::array<std::uint8_t, 3>{rgb[0], rgb[1], rgb[2]};
    };
    labels.palette = object.list("palette", count, count, colour);
    labels.ignore_index = byte_of(object, "ignore_index");
    object.list("flip_pairs", 0, kMostClasses, [&](const Json& entry, const std::string& at) {
        return JsonObject::to_list(entry, at, 2, 2, [&](const Json& index, const std::string& there) {
            return JsonObject::to_integer(index, there, 0, static_cast<std::int64_t>(count) - 1);
        });
    });
    return labels;
}

void read_graph(const Json& value, const std::string& where) {
    const JsonObject object(value, where, {"scaling", "normalisation", "argmax"});
    for (const char* name : {"scaling", "normalisation", "argmax"}) object.truth(name);
}

TensorSpec read_tensor(const Json& value, const std::string& where) {
    const JsonObject object(value, where, {"name", "role", "shape", "dtype", "layout"});
    TensorSpec tensor;
    tensor.name = object.text("name");
    if (tensor.name.find('\0') != std::string::npos) throw Error(object.path("name") + ": holds a zero byte");
    tensor.role =
        object.choice<Role>("role", {{"image", Role::image}, {"logits", Role::logits}, {"labels", Role::labels}});
    tensor.dtype = object.choice<DType>("dtype", {{"float32", DType::float32},
                                                  {"float16", DType::float16},
                                                  {"uint8", DType::uint8},
                                                  {"int32", DType::int32},
                                                  {"int64", DType::int64}});
    tensor.layout =
        object.choice<Layout>("layout", {{"nchw", Layout::nchw}, {"nhwc", Layout::nhwc}, {"nhw", Layout::nhw}});
    const std::size_t rank = tensor.layout == Layout::nhw ? 3 : 4;
    tensor.shape = object.list("shape", rank, rank, [](const Json& entry, const std::string& at) {
        return JsonObject::to_integer(entry, at, 1, kLongestAxis);
    });
    std::int64_t count = 1;
    for (const std::int64_t axis : tensor.shape) {
        count *= axis;  // at most 2^31 times 2^28
        if (count > kMostValues) throw Error(object.path("shape") + ": is too large a tensor");
    }
    return tensor;
}

void check_agreement(const Manifest& manifest, const std::string& where) {
    const auto classes = static_cast<std::size_t>(manifest.num_classes);
    const PreprocessSpec& preprocess = manifest.preprocess;
    if (manifest.labels.names.size() != classes) {
        throw Error(where + ".labels: " + std::to_string(manifest.labels.names.size()) + " names for " +
                    std::to_string(classes) + " classes of the model");
    }
    if (preprocess.has_prior() && preprocess.prior_values.size() != classes) {
        throw Error(where + ".preprocess.prior_values: expected one a class, " + std::to_string(classes));
    }
    const TensorSpec& image = manifest.inputs.front();
    if (image.shape != preprocess.tensor_shape() || image.layout != preprocess.layout) {
        throw Error(where + ".inputs[0]: is not what preprocess makes");
    }
    if (image.dtype != preprocess.dtype) throw Error(where + ".inputs[0].dtype: is not that of preprocess");
    for (const TensorSpec& output : manifest.outputs) {
        if (output.role == Role::image) continue;
        const bool has_classes = output.layout != Layout::nhw;
        if (output.shape[0] != 1) throw Error(where + ".outputs: a batch of one is wanted");
        if (has_classes != (output.role == Role::logits))
            throw Error(where + ".outputs: labels are nhw, logits are not");
        const std::size_t axis = output.layout == Layout::nchw ? 1 : 3;
        if (has_classes && output.shape[axis] != manifest.num_classes) {
            throw Error(where + ".outputs: " + std::to_string(output.shape[axis]) + " channels for " +
                        std::to_string(classes) + " classes");
        }
        const Size size = output.size();
        if (preprocess.size.height % size.height != 0 || preprocess.size.width % size.width != 0) {
            throw Error(where + ".outputs: " + std::to_string(size.height) + "x" + std::to_string(size.width) +
                        " is no whole fraction of the input's size");
        }
        return;
    }
    throw Error(where + ".outputs: none is logits or labels");
}

Json parse_json(std::string_view text, const std::string& where) {
    if (text.size() > kLargestText) throw Error(where + ": is too long for a manifest");
    try {
        return Json::parse(text);
    } catch (const Json::exception& error) {
        throw Error(where + ": not valid JSON (" + one_line(error.what(), 100) + ")");
    }
}

Manifest read_manifest(const Json& data, const std::string& where) {
    if (data.is_object() && data.contains("schema_version") && data["schema_version"] != 1) {
        throw Error(where +
                    ".schema_version: this program reads version 1; build a newer one or export the model again");
    }
    const JsonObject object(data, where,
                            {"artifact", "model", "preprocess", "postprocess", "labels", "graph", "inputs", "outputs",
                             "provenance", "schema_version"});
    object.integer("schema_version", 1, 1);
    Manifest manifest;
    manifest.artifact = read_artifact(object.get("artifact"), object.path("artifact"));
    const JsonObject model(object.get("model"), object.path("model"),
                           {"name", "num_classes", "in_channels", "options"});
    manifest.model_name = model.text("name");
    manifest.num_classes = static_cast<int>(model.integer("num_classes", 2, kMostClasses));
    manifest.preprocess = read_preprocess(object.get("preprocess"), object.path("preprocess"));
    manifest.postprocess = read_postprocess(object.get("postprocess"), object.path("postprocess"));
    manifest.labels = read_labels(object.get("labels"), object.path("labels"));
    read_graph(object.get("graph"), object.path("graph"));
    manifest.inputs = object.list("inputs", 1, 1, read_tensor);
    manifest.outputs = object.list("outputs", 1, 16, read_tensor);
    check_agreement(manifest, where);
    return manifest;
}

}  // namespace

std::vector<std::int64_t> PreprocessSpec::tensor_shape() const {
    if (layout == Layout::nchw) return {1, channels(), size.height, size.width};
    return {1, size.height, size.width, channels()};
}

Size TensorSpec::size() const {
    const std::size_t axis = layout == Layout::nchw ? 2 : 1;
    return {static_cast<int>(shape.at(axis)), static_cast<int>(shape.at(axis + 1))};
}

Manifest parse_manifest(std::string_view json, const std::string& where) {
    const Json data = parse_json(json, where);
    try {
        return read_manifest(data, "manifest");
    } catch (const Error& error) {
        throw Error(where + ": " + error.what());
    }
}

}  // namespace segproof
