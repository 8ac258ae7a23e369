// Pictures and label maps: bytes, row by row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace segproof {

struct Size {
    int height = 0;
    int width = 0;

    std::size_t area() const { return static_cast<std::size_t>(height) * static_cast<std::size_t>(width); }
    bool operator==(const Size& other) const { return height == other.height && width == other.width; }
    bool operator!=(const Size& other) const { return !(*this == other); }
};

// Rows top..top+height, columns left..left+width.
struct Rect {
    int top = 0;
    int left = 0;
    int height = 0;
    int width = 0;

    Size size() const { return {height, width}; }
    bool operator==(const Rect& other) const {
        return top == other.top && left == other.left && size() == other.size();
    }
    bool operator!=(const Rect& other) const { return !(*this == other); }
};

inline Rect whole(Size size) {
    return {0, 0, size.height, size.width};
}

// `channels` bytes a pixel: 3 in the order blue, green, red, or 1 of a label map.
struct Picture {
    Size size;
    int channels = 3;
    std::vector<std::uint8_t> bytes;

    Picture() = default;
    Picture(Size size_, int channels_, std::uint8_t fill = 0)
        : size(size_), channels(channels_), bytes(size_.area() * static_cast<std::size_t>(channels_), fill) {}

    std::size_t stride() const { return static_cast<std::size_t>(size.width) * static_cast<std::size_t>(channels); }
    const std::uint8_t* row(int y) const { return bytes.data() + static_cast<std::size_t>(y) * stride(); }
    std::uint8_t* row(int y) { return bytes.data() + static_cast<std::size_t>(y) * stride(); }
};

}  // namespace segproof
