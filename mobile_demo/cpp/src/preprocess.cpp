#include "segproof/preprocess.hpp"

#include <utility>

#include "segproof/error.hpp"
#include "segproof/resize.hpp"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

namespace segproof {
namespace {

// float32 `((x * scale) - mean) / std`, the constants rounded first, a rounding after each operation.
std::array<float, 256> normalisation_table(double scale, double mean, double deviation) {
    std::array<float, 256> table{};
    for (std::size_t x = 0; x < table.size(); ++x) {
        const float scaled = static_cast<float>(x) * static_cast<float>(scale);
        const float centred = scaled - static_cast<float>(mean);
        table[x] = centred / static_cast<float>(deviation);
    }
    return table;
}

void reorder(const std::uint8_t* bgr, Color color, std::uint8_t* out) {
    if (color == Color::gray) {
        out[0] = static_cast<std::uint8_t>((3735U * bgr[0] + 19235U * bgr[1] + 9798U * bgr[2] + 16384U) >> 15U);
        return;
    }
    const bool swap = color == Color::rgb;
    out[0] = bgr[swap ? 2 : 0];
    out[1] = bgr[1];
    out[2] = bgr[swap ? 0 : 2];
}

// Calls `set(to, channel, value)` for each pixel of each channel, in the order of `layout`.
template <typename Set>
void for_each_value(const Picture& pixels, Layout layout, Set set) {
    const auto channels = static_cast<std::size_t>(pixels.channels);
    const std::size_t count = pixels.size.area();
    std::size_t to = 0;
    if (layout == Layout::nhwc) {
        for (std::size_t i = 0; i < count; ++i) {
            for (std::size_t c = 0; c < channels; ++c, ++to) set(to, c, pixels.bytes[to]);
        }
        return;
    }
    for (std::size_t c = 0; c < channels; ++c) {
        for (std::size_t i = 0; i < count; ++i, ++to) set(to, c, pixels.bytes[i * channels + c]);
    }
}

}  // namespace

Preprocessor::Preprocessor(PreprocessSpec spec) : spec_(std::move(spec)) {
    for (std::size_t c = 0; c < spec_.mean.size(); ++c) {
        tables_.push_back(normalisation_table(spec_.scale, spec_.mean[c], spec_.deviation.at(c)));
    }
}

Tensor Preprocessor::operator()(const Picture& image_bgr, const Geometry& geometry, const Picture* prior) const {
    const Picture pixels = to_pixels(to_canvas(image_bgr, geometry), prior);
    Tensor tensor{spec_.tensor_shape(), {}};
    if (spec_.dtype == DType::uint8) {
        std::vector<std::uint8_t> values(pixels.bytes.size());
        for_each_value(pixels, spec_.layout, [&](std::size_t to, std::size_t, std::uint8_t x) { values[to] = x; });
        tensor.values = std::move(values);
    } else {
        std::vector<float> values(pixels.bytes.size());
        for_each_value(pixels, spec_.layout,
                       [&](std::size_t to, std::size_t c, std::uint8_t x) { values[to] = tables_[c][x]; });
        tensor.values = std::move(values);
    }
    return tensor;
}

Picture Preprocessor::to_canvas(const Picture& image_bgr, const Geometry& geometry) const {
    if (image_bgr.channels != 3 || image_bgr.size != geometry.source ||
        image_bgr.bytes.size() != image_bgr.size.area() * 3) {
        throw Error("image: is not the BGR picture that its geometry was planned for");
    }
    const Picture* source = &image_bgr;
    Rect region = geometry.box;
    Picture reduced;
    if (spec_.halve) {
        reduced = halve(image_bgr, geometry.box, geometry.content.size());
        source = &reduced;
        region = whole(reduced.size);
    }
    const Size size = geometry.content.size();
    const bool linear = spec_.interpolation == Interpolation::linear_exact;
    if (linear && size == geometry.size) return resize_linear_exact(*source, region, size);
    Picture canvas(geometry.size, 3, spec_.pad_value);
    if (linear) {
        copy_nearest(resize_linear_exact(*source, region, size), whole(size), canvas, geometry.content);
    } else {
        copy_nearest(*source, region, canvas, geometry.content);
    }
    return canvas;
}

Picture Preprocessor::to_pixels(const Picture& canvas_bgr, const Picture* prior) const {
    if (prior != nullptr && !spec_.has_prior()) throw Error("prior: this contract takes no previous labels");
    if (prior != nullptr && (prior->size != spec_.size || prior->channels != 1)) {
        throw Error("prior: the previous labels are not at the network's size");
    }
    Picture pixels(spec_.size, spec_.channels());
    const auto channels = static_cast<std::size_t>(pixels.channels);
    for (std::size_t i = 0; i < spec_.size.area(); ++i) {
        std::uint8_t* to = pixels.bytes.data() + i * channels;
        reorder(canvas_bgr.bytes.data() + i * 3, spec_.color, to);
        if (prior == nullptr) continue;
        const std::size_t label = prior->bytes[i];
        to[channels - 1] = label < spec_.prior_values.size() ? spec_.prior_values[label] : std::uint8_t{0};
    }
    return pixels;
}

}  // namespace segproof
