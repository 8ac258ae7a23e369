// The manifest of an artifact, as data: docs/spec-format.md says what each field means.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "segproof/picture.hpp"

namespace segproof {

enum class Color { rgb, bgr, gray };
enum class Fit { stretch, letterbox, center_crop };
enum class Interpolation { linear_exact, nearest };
enum class Layout { nchw, nhwc, nhw };
enum class DType { float32, float16, uint8, int32, int64 };
enum class Role { image, logits, labels };

struct PreprocessSpec {
    Size size;
    Color color = Color::rgb;
    Fit fit = Fit::stretch;
    Interpolation interpolation = Interpolation::linear_exact;
    bool halve = false;
    std::uint8_t pad_value = 114;
    double scale = 1.0;
    std::vector<double> mean;
    std::vector<double> deviation;  // field "std"
    Layout layout = Layout::nchw;
    DType dtype = DType::float32;
    std::vector<std::uint8_t> prior_values;  // one a class; empty without a prior

    bool has_prior() const { return !prior_values.empty(); }
    int color_channels() const { return color == Color::gray ? 1 : 3; }
    int channels() const { return color_channels() + (has_prior() ? 1 : 0); }
    std::vector<std::int64_t> tensor_shape() const;
};

struct PostprocessSpec {
    bool resize_logits = false;
    std::uint8_t outside_label = 0;
    bool has_crf = false;  // this library refines nothing: a Segmenter refuses it
};

struct TensorSpec {
    std::string name;
    Role role = Role::image;
    std::vector<std::int64_t> shape;
    DType dtype = DType::float32;
    Layout layout = Layout::nchw;

    Size size() const;
};

struct LabelSet {
    std::vector<std::string> names;
    std::vector<std::array<std::uint8_t, 3>> palette;  // red, green, blue
    int ignore_index = 255;
};

struct ArtifactInfo {
    std::string file;
    std::string target;
    std::optional<std::int64_t> bytes;  // not in the copy inside an artifact
    std::optional<std::string> sha256;
};

struct Manifest {
    ArtifactInfo artifact;
    std::string model_name;
    int num_classes = 0;
    PreprocessSpec preprocess;
    PostprocessSpec postprocess;
    LabelSet labels;
    std::vector<TensorSpec> inputs;
    std::vector<TensorSpec> outputs;
};

// Reads a manifest as strictly as the Python reader: unknown, missing and contradictory fields are refused. Throws
// Error that begins with `where` and names the field.
Manifest parse_manifest(std::string_view json, const std::string& where);

}  // namespace segproof
