#include "segproof/postprocess.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "segproof/error.hpp"
#include "segproof/resize.hpp"

namespace segproof {
namespace {

// Scores, planes one after the other.
struct Scores {
    Size size;
    std::size_t classes = 0;
    std::vector<float> planes;
};

std::string name_of(const TensorSpec& output) {
    return "output '" + one_line(output.name, 60) + "': ";
}

void check_output(const TensorSpec& output, const Tensor& tensor, const Geometry& geometry) {
    if (tensor.shape != output.shape) throw Error(name_of(output) + "has another shape than its manifest says");
    std::size_t count = 1;
    for (const std::int64_t side : output.shape) count *= static_cast<std::size_t>(side);
    const std::size_t found = std::visit([](const auto& values) { return values.size(); }, tensor.values);
    if (count != found) throw Error(name_of(output) + "holds fewer values than its shape");
    const Size size = output.size();
    if (geometry.size.height % size.height != 0 || geometry.size.width % size.width != 0) {
        throw Error(name_of(output) + "is no whole fraction of the input's size");
    }
}

Picture to_labels(const TensorSpec& output, const Tensor& tensor) {
    Picture labels(output.size(), 1);
    std::visit(
        [&](const auto& values) {
            using Value = typename std::decay_t<decltype(values)>::value_type;
            if constexpr (std::is_floating_point_v<Value>) {
                throw Error(name_of(output) + "labels are integers, found floats");
            } else {
                for (std::size_t i = 0; i < values.size(); ++i) {
                    const auto label = static_cast<std::int64_t>(values[i]);
                    if (label < 0 || label > 255) {
                        throw Error(name_of(output) + "the label " + std::to_string(label) + " is beyond 0..255");
                    }
                    labels.bytes[i] = static_cast<std::uint8_t>(label);
                }
            }
        },
        tensor.values);
    return labels;
}

Scores to_scores(const TensorSpec& output, const Tensor& tensor) {
    const auto* values = std::get_if<std::vector<float>>(&tensor.values);
    if (values == nullptr) throw Error(name_of(output) + "logits are floats, found integers");
    for (const float value : *values) {
        if (!std::isfinite(value)) {
            throw Error(name_of(output) +
                        "holds NaN or infinity; half precision may have overflowed: export fp32 and compare");
        }
    }
    const std::size_t pixels = output.size().area();
    Scores scores{output.size(), values->size() / pixels, *values};
    if (scores.classes > 255) throw Error(name_of(output) + "more than 255 classes do not fit a label map");
    if (output.layout == Layout::nhwc) {
        for (std::size_t i = 0; i < pixels; ++i) {
            for (std::size_t c = 0; c < scores.classes; ++c) {
                scores.planes[c * pixels + i] = (*values)[i * scores.classes + c];
            }
        }
    }
    return scores;
}

// Sets labels to `index` where `score` is greater: on a tie the lower class stays.
void take_better(std::uint8_t* labels, std::vector<float>& best, const float* score, std::size_t index) {
    for (std::size_t i = 0; i < best.size(); ++i) {
        if (score[i] > best[i]) {
            best[i] = score[i];
            labels[i] = static_cast<std::uint8_t>(index);
        }
    }
}

Picture argmax(const Scores& scores) {
    Picture labels(scores.size, 1);
    const std::size_t pixels = scores.size.area();
    std::vector<float> best(pixels, -std::numeric_limits<float>::infinity());
    for (std::size_t c = 0; c < scores.classes; ++c) {
        take_better(labels.bytes.data(), best, scores.planes.data() + c * pixels, c);
    }
    return labels;
}

// Repeats labels of a fraction of the network's size until they have it.
Picture repeat(const Picture& labels, Size size) {
    if (labels.size == size) return labels;
    Picture out(size, 1);
    const int down = size.height / labels.size.height;
    const int across = size.width / labels.size.width;
    for (int y = 0; y < size.height; ++y) {
        for (int x = 0; x < size.width; ++x) out.row(y)[x] = labels.row(y / down)[x / across];
    }
    return out;
}

std::vector<float> cut(const std::vector<float>& plane, Size size, const Rect& rect) {
    std::vector<float> out(rect.size().area());
    const auto width = static_cast<std::size_t>(rect.width);
    for (int y = 0; y < rect.height; ++y) {
        const std::size_t from = static_cast<std::size_t>(rect.top + y) * static_cast<std::size_t>(size.width) +
                                 static_cast<std::size_t>(rect.left);
        std::memcpy(out.data() + static_cast<std::size_t>(y) * width, plane.data() + from, width * sizeof(float));
    }
    return out;
}

// Resizes the scores of each class to the network's size and then to the source's, and takes the largest.
Labels from_resized(const PostprocessSpec& spec, const Scores& scores, const Geometry& geometry) {
    const std::size_t pixels = scores.size.area();
    const float lowest = -std::numeric_limits<float>::infinity();
    Picture network(geometry.size, 1);
    Picture boxed(geometry.box.size(), 1);
    std::vector<float> best_network(geometry.size.area(), lowest);
    std::vector<float> best_boxed(boxed.size.area(), lowest);
    for (std::size_t c = 0; c < scores.classes; ++c) {
        const auto begin = scores.planes.begin() + static_cast<std::ptrdiff_t>(c * pixels);
        const std::vector<float> plane(begin, begin + static_cast<std::ptrdiff_t>(pixels));
        const std::vector<float> large = resize_bilinear(plane, scores.size, geometry.size);
        take_better(network.bytes.data(), best_network, large.data(), c);
        const std::vector<float> inside = cut(large, geometry.size, geometry.content);
        const std::vector<float> score = resize_bilinear(inside, geometry.content.size(), geometry.box.size());
        take_better(boxed.bytes.data(), best_boxed, score.data(), c);
    }
    Picture source(geometry.source, 1, spec.outside_label);
    copy_nearest(boxed, whole(boxed.size), source, geometry.box);
    return {std::move(network), std::move(source)};
}

}  // namespace

Labels postprocess(const PostprocessSpec& spec, const TensorSpec& output, const Tensor& tensor,
                   const Geometry& geometry) {
    check_output(output, tensor, geometry);
    if (output.role == Role::labels) {
        Picture network = repeat(to_labels(output, tensor), geometry.size);
        Picture source = restore_labels(geometry, network, spec.outside_label);
        return {std::move(network), std::move(source)};
    }
    const Scores scores = to_scores(output, tensor);
    if (spec.resize_logits) return from_resized(spec, scores, geometry);
    Picture network = repeat(argmax(scores), geometry.size);
    Picture source = restore_labels(geometry, network, spec.outside_label);
    return {std::move(network), std::move(source)};
}

}  // namespace segproof
