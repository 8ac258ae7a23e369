#include "segproof/resize.hpp"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>

// The contract rounds after each operation: no x87, no -ffast-math, and -ffp-contract=off for this file.
static_assert(FLT_EVAL_METHOD == 0, "the contract needs arithmetic without excess precision");
#ifdef __FAST_MATH__
#error "the contract needs IEEE arithmetic: compile segproof without -ffast-math"
#endif

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

namespace segproof {
namespace {

// Source indices of each target pixel of one axis, and the weight (0..256) of the second.
struct LinearAxis {
    std::vector<int> first;
    std::vector<int> second;
    std::vector<std::uint32_t> weight;
};

LinearAxis linear_axis(int source, int target) {
    const auto count = static_cast<std::size_t>(target);
    LinearAxis axis{std::vector<int>(count), std::vector<int>(count), std::vector<std::uint32_t>(count)};
    const double scale = 1.0 / (static_cast<double>(target) / source);
    for (std::size_t d = 0; d < count; ++d) {
        const double scaled = scale * (static_cast<double>(d) + 0.5);
        const double position = scaled - 0.5;
        const double index = std::floor(position);
        const bool inside = index >= 0 && index < source - 1;
        axis.first[d] = std::clamp(static_cast<int>(index), 0, source - 1);
        axis.second[d] = std::min(axis.first[d] + 1, source - 1);
        axis.weight[d] = inside ? static_cast<std::uint32_t>(std::nearbyint((position - index) * 256.0)) : 0U;
    }
    return axis;
}

std::vector<int> nearest_axis(int source, int target) {
    std::vector<int> index(static_cast<std::size_t>(target));
    const double scale = 1.0 / (static_cast<double>(target) / source);
    for (std::size_t d = 0; d < index.size(); ++d) {
        index[d] = std::min(static_cast<int>(std::floor(static_cast<double>(d) * scale)), source - 1);
    }
    return index;
}

// One row across, 8.8 fixed point.
void resize_row(const std::uint8_t* row, int channels, const LinearAxis& across, std::vector<std::uint32_t>& out) {
    std::size_t to = 0;
    for (std::size_t x = 0; x < across.weight.size(); ++x) {
        const std::uint8_t* p = row + static_cast<std::ptrdiff_t>(across.first[x]) * channels;
        const std::uint8_t* q = row + static_cast<std::ptrdiff_t>(across.second[x]) * channels;
        const std::uint32_t b = across.weight[x];
        for (int c = 0; c < channels; ++c) out[to++] = p[c] * (256U - b) + q[c] * b;
    }
}

}  // namespace

Picture resize_linear_exact(const Picture& image, const Rect& box, Size size) {
    const LinearAxis down = linear_axis(box.height, size.height);
    const LinearAxis across = linear_axis(box.width, size.width);
    Picture out(size, image.channels);
    // Rows are needed in rising order, two at a time: each source row is resized across once.
    struct Row {
        int index = -1;
        std::vector<std::uint32_t> values;
    };
    std::array<Row, 2> rows{Row{-1, std::vector<std::uint32_t>(out.stride())},
                            Row{-1, std::vector<std::uint32_t>(out.stride())}};
    const auto row = [&](int index, int keep) -> const std::vector<std::uint32_t>& {
        for (const Row& known : rows) {
            if (known.index == index) return known.values;
        }
        Row& slot = rows[0].index == keep ? rows[1] : rows[0];
        slot.index = index;
        const std::ptrdiff_t start = static_cast<std::ptrdiff_t>(box.left) * image.channels;
        resize_row(image.row(box.top + index) + start, image.channels, across, slot.values);
        return slot.values;
    };
    for (int y = 0; y < size.height; ++y) {
        const auto d = static_cast<std::size_t>(y);
        const std::vector<std::uint32_t>& upper = row(down.first[d], down.second[d]);
        const std::vector<std::uint32_t>& lower = row(down.second[d], down.first[d]);
        const std::uint32_t b = down.weight[d];
        std::uint8_t* to = out.row(y);
        for (std::size_t i = 0; i < upper.size(); ++i) {
            to[i] = static_cast<std::uint8_t>((upper[i] * (256U - b) + lower[i] * b + 32768U) >> 16U);
        }
    }
    return out;
}

void copy_nearest(const Picture& image, const Rect& from, Picture& out, const Rect& to) {
    const std::vector<int> rows = nearest_axis(from.height, to.height);
    const std::vector<int> columns = nearest_axis(from.width, to.width);
    const auto channels = static_cast<std::size_t>(image.channels);
    const std::size_t start = static_cast<std::size_t>(to.left) * channels;
    for (int y = 0; y < to.height; ++y) {
        const auto d = static_cast<std::size_t>(y);
        std::uint8_t* target = out.row(to.top + y) + start;
        if (y > 0 && rows[d] == rows[d - 1]) {
            std::memcpy(target, out.row(to.top + y - 1) + start, columns.size() * channels);
            continue;
        }
        const std::uint8_t* source = image.row(from.top + rows[d]);
        for (const int column : columns) {
            const std::uint8_t* pixel = source + static_cast<std::size_t>(from.left + column) * channels;
            for (std::size_t c = 0; c < channels; ++c) *target++ = pixel[c];
        }
    }
}

Picture halve(const Picture& image, const Rect& box, Size target) {
    const Picture* current = &image;
    Rect region = box;
    Picture held;
    const auto channels = static_cast<std::size_t>(image.channels);
    while (region.height >= 2 * target.height && region.width >= 2 * target.width) {
        Picture half({region.height / 2, region.width / 2}, image.channels);
        for (int y = 0; y < half.size.height; ++y) {
            const std::size_t start = static_cast<std::size_t>(region.left) * channels;
            const std::uint8_t* upper = current->row(region.top + 2 * y) + start;
            const std::uint8_t* lower = current->row(region.top + 2 * y + 1) + start;
            std::uint8_t* to = half.row(y);
            for (int x = 0; x < half.size.width; ++x, upper += channels, lower += channels) {
                for (std::size_t c = 0; c < channels; ++c, ++upper, ++lower) {
                    const unsigned total = 0U + upper[0] + upper[channels] + lower[0] + lower[channels] + 2U;
                    *to++ = static_cast<std::uint8_t>(total >> 2U);
                }
            }
        }
        held = std::move(half);
        current = &held;
        region = whole(held.size);
    }
    if (current == &image) {  // nothing to reduce: the region as it is
        held = Picture(box.size(), image.channels);
        copy_nearest(image, box, held, whole(held.size));
    }
    return held;
}

std::vector<float> resize_bilinear(const std::vector<float>& plane, Size from, Size to) {
    if (from == to) return plane;
    struct Axis {
        std::vector<std::size_t> first;
        std::vector<std::size_t> second;
        std::vector<float> weight;
    };
    const auto axis = [](int source, int target) {
        const auto count = static_cast<std::size_t>(target);
        Axis made{std::vector<std::size_t>(count), std::vector<std::size_t>(count), std::vector<float>(count)};
        const double scale = static_cast<double>(source) / target;
        for (std::size_t d = 0; d < count; ++d) {
            const auto position = static_cast<float>((static_cast<double>(d) + 0.5) * scale - 0.5);
            const int index = static_cast<int>(std::floor(position));
            const bool inside = index >= 0 && index < source - 1;
            made.first[d] = static_cast<std::size_t>(std::clamp(index, 0, source - 1));
            made.second[d] = std::min(made.first[d] + 1, static_cast<std::size_t>(source - 1));
            made.weight[d] = inside ? position - static_cast<float>(index) : 0.0F;
        }
        return made;
    };
    const Axis down = axis(from.height, to.height);
    const Axis across = axis(from.width, to.width);
    std::vector<float> out(to.area());
    std::size_t i = 0;
    for (std::size_t y = 0; y < down.weight.size(); ++y) {
        const float* upper = plane.data() + down.first[y] * static_cast<std::size_t>(from.width);
        const float* lower = plane.data() + down.second[y] * static_cast<std::size_t>(from.width);
        const float b = down.weight[y];
        for (std::size_t x = 0; x < across.weight.size(); ++x, ++i) {
            const std::size_t p = across.first[x];
            const std::size_t q = across.second[x];
            const float a = across.weight[x];
            const float top = upper[p] * (1.0F - a) + upper[q] * a;
            const float bottom = lower[p] * (1.0F - a) + lower[q] * a;
            out[i] = top * (1.0F - b) + bottom * b;
        }
    }
    return out;
}

}  // namespace segproof
