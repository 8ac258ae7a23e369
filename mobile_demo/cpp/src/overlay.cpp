#include "segproof/overlay.hpp"

#include <algorithm>
#include <cmath>

#include "segproof/error.hpp"

namespace segproof {
namespace {

constexpr std::array<std::uint8_t, 3> kUntinted = {0, 0, 0};

std::uint8_t mix(std::uint8_t a, float share, std::uint8_t b, float other) {
    const float value = std::nearbyint(static_cast<float>(a) * share + static_cast<float>(b) * other);
    return static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F));
}

// Whether the window of `reach + 1` pixels that ends half of it behind (y, x) holds two classes.
bool is_border(const Picture& labels, int y, int x, int reach) {
    const int before = (reach + 1) / 2;
    const std::uint8_t own = labels.row(y)[x];
    for (int v = std::max(0, y - before); v <= std::min(labels.size.height - 1, y - before + reach); ++v) {
        for (int u = std::max(0, x - before); u <= std::min(labels.size.width - 1, x - before + reach); ++u) {
            if (labels.row(v)[u] != own) return true;
        }
    }
    return false;
}

}  // namespace

Picture draw_overlay(const Picture& image_bgr, const Picture& labels, const LabelSet& label_set, double opacity) {
    if (image_bgr.size != labels.size || image_bgr.channels != 3 || labels.channels != 1) {
        throw Error("overlay: image and labels differ in size");
    }
    Picture out = image_bgr;
    const auto tinted = static_cast<float>(std::clamp(opacity, 0.0, 1.0));
    const auto plain = static_cast<float>(1.0 - std::clamp(opacity, 0.0, 1.0));
    const int reach = 1 + std::min(labels.size.height, labels.size.width) / 700;  // lines grow with the picture
    for (int y = 0; y < out.size.height; ++y) {
        std::uint8_t* pixel = out.row(y);
        for (int x = 0; x < out.size.width; ++x, pixel += 3) {
            const std::size_t label = labels.row(y)[x];
            const auto rgb = label < label_set.palette.size() ? label_set.palette[label] : kUntinted;
            if (rgb != kUntinted) {
                for (std::size_t c = 0; c < 3; ++c) pixel[c] = mix(pixel[c], plain, rgb[2 - c], tinted);
            }
            if (is_border(labels, y, x, reach)) {
                for (std::size_t c = 0; c < 3; ++c) pixel[c] = mix(pixel[c], 0.35F, 255, 0.65F);
            }
        }
    }
    return out;
}

}  // namespace segproof
