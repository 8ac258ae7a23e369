#include "segproof/geometry.hpp"

#include <algorithm>
#include <string>

#include "segproof/error.hpp"
#include "segproof/resize.hpp"

namespace segproof {
namespace {

constexpr std::uint8_t kUnknown = 255;

// To the nearest integer, halves up, in integers: every language agrees.
int round_ratio(std::int64_t numerator, std::int64_t denominator) {
    return static_cast<int>((2 * numerator + denominator) / (2 * denominator));
}

bool height_limits(Size region, Size size) {
    return std::int64_t{region.height} * size.width >= std::int64_t{region.width} * size.height;
}

Size fit_inside(Size region, Size size) {
    const std::int64_t h = region.height;
    const std::int64_t w = region.width;
    if (height_limits(region, size)) return {size.height, std::max(1, round_ratio(w * size.height, h))};
    return {std::max(1, round_ratio(h * size.width, w)), size.width};
}

Rect crop_to_aspect(const Rect& box, Size size) {
    Size cut = box.size();
    if (height_limits(box.size(), size)) {
        cut.height = std::min(box.height, std::max(1, round_ratio(std::int64_t{box.width} * size.height, size.width)));
    } else {
        cut.width = std::min(box.width, std::max(1, round_ratio(std::int64_t{box.height} * size.width, size.height)));
    }
    return {box.top + (box.height - cut.height) / 2, box.left + (box.width - cut.width) / 2, cut.height, cut.width};
}

std::string describe(const Rect& box) {
    return std::to_string(box.top) + "," + std::to_string(box.left) + "," + std::to_string(box.height) + "," +
           std::to_string(box.width);
}

}  // namespace

Geometry plan_geometry(Size source, const PreprocessSpec& spec, const std::optional<Rect>& roi) {
    if (source.height < 1 || source.width < 1) throw Error("image: has no pixel");
    Rect box = roi.value_or(whole(source));
    // Differences, not sums: a hostile corner must not overflow.
    const bool inside = box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 &&
                        box.height <= source.height && box.width <= source.width &&
                        box.top <= source.height - box.height && box.left <= source.width - box.width;
    if (!inside) {
        throw Error("region " + describe(box) + " (top,left,height,width) is not inside the image of " +
                    std::to_string(source.height) + "x" + std::to_string(source.width) + " (HxW)");
    }
    if (spec.fit == Fit::center_crop) box = crop_to_aspect(box, spec.size);
    const Size fitted = spec.fit == Fit::letterbox ? fit_inside(box.size(), spec.size) : spec.size;
    const Rect content = {(spec.size.height - fitted.height) / 2, (spec.size.width - fitted.width) / 2, fitted.height,
                          fitted.width};
    return {source, box, content, spec.size};
}

Picture restore_labels(const Geometry& geometry, const Picture& labels, std::uint8_t outside_label) {
    if (labels.size != geometry.size || labels.channels != 1) throw Error("labels: not at the network's size");
    Picture restored(geometry.source, 1, outside_label);
    copy_nearest(labels, geometry.content, restored, geometry.box);
    return restored;
}

std::optional<Picture> carry_labels(const Picture& labels, const Geometry& before, const Geometry& after) {
    if (before.source != after.source) return std::nullopt;
    Picture carried(after.size, 1, kUnknown);
    if (before == after) {
        copy_nearest(labels, before.content, carried, before.content);
    } else {
        copy_nearest(restore_labels(before, labels, kUnknown), after.box, carried, after.content);
    }
    return carried;
}

}  // namespace segproof
