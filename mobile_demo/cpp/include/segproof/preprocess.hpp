// From a decoded picture to the network's tensor.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "segproof/geometry.hpp"
#include "segproof/manifest.hpp"
#include "segproof/tensor.hpp"

namespace segproof {

// Turns pictures into input tensors as a PreprocessSpec says. Holds tables only; threads may share it.
class Preprocessor {
  public:
    explicit Preprocessor(PreprocessSpec spec);

    const PreprocessSpec& spec() const { return spec_; }

    // Returns the tensor of a BGR picture that `geometry` was planned for. `prior` is the previous label map at
    // network size, null for none. Throws Error when picture or prior do not fit.
    Tensor operator()(const Picture& image_bgr, const Geometry& geometry, const Picture* prior = nullptr) const;

    // Returns the BGR picture at network size: cut, reduced, resized and padded.
    Picture to_canvas(const Picture& image_bgr, const Geometry& geometry) const;

  private:
    Picture to_pixels(const Picture& canvas_bgr, const Picture* prior) const;

    PreprocessSpec spec_;
    std::vector<std::array<float, 256>> tables_;  // tensor value of each pixel value, a table a channel
};

}  // namespace segproof
