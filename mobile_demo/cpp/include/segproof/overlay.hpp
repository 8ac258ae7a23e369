// Show label maps.
#pragma once

#include "segproof/manifest.hpp"
#include "segproof/picture.hpp"

namespace segproof {

// Returns the BGR picture tinted by class, with thin white lines between classes. `opacity` 0 shows the picture, 1 the
// colours. Black classes (background) and labels that are no class are left untinted. Throws Error when sizes differ.
Picture draw_overlay(const Picture& image_bgr, const Picture& labels, const LabelSet& label_set, double opacity = 0.55);

}  // namespace segproof
