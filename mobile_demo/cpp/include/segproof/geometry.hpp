// Where the pixels of a picture go on their way to the network. The normative text is seg_core/geometry.py.
#pragma once

#include <optional>

#include "segproof/manifest.hpp"
#include "segproof/picture.hpp"

namespace segproof {

// `box` of the source is resized to the size of `content`, a rectangle of the network's canvas; the rest is padding.
struct Geometry {
    Size source;
    Rect box;
    Rect content;
    Size size;

    bool operator==(const Geometry& other) const {
        return source == other.source && box == other.box && content == other.content && size == other.size;
    }
};

// Plans where a picture goes; without `roi` all of it is used. Throws Error when `roi` is not inside the picture.
Geometry plan_geometry(Size source, const PreprocessSpec& spec, const std::optional<Rect>& roi = std::nullopt);

// Carries labels at network size back to the source's; pixels outside `geometry.box` get `outside_label`.
Picture restore_labels(const Geometry& geometry, const Picture& labels, std::uint8_t outside_label);

// What a video's next frame is told of the last one, with 255 for "unknown"; empty when the pictures differ in size.
std::optional<Picture> carry_labels(const Picture& labels, const Geometry& before, const Geometry& after);

}  // namespace segproof
