// The contract's ways of resizing, integer for integer as in seg_core/reference.py.
#pragma once

#include "segproof/picture.hpp"

namespace segproof {

// Resizes `box` of `image` by LINEAR_EXACT: 8.8 fixed point across, 8.16 down, then `(v + 32768) >> 16`.
Picture resize_linear_exact(const Picture& image, const Rect& box, Size size);

// Resizes `from` of `image` by NEAREST into `to` of `out`, a picture of as many channels.
void copy_nearest(const Picture& image, const Rect& from, Picture& out, const Rect& to);

// Averages 2x2 blocks of `box` while both sides are at least twice `target`; an odd last row or column is dropped.
Picture halve(const Picture& image, const Rect& box, Size target);

// Resizes float32 scores bilinearly: pixel centres, edges repeated (OpenCV's INTER_LINEAR but for its last bits).
std::vector<float> resize_bilinear(const std::vector<float>& plane, Size from, Size to);

}  // namespace segproof
