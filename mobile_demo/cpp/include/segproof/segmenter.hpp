// A picture in, a label map out.
#pragma once

#include <memory>
#include <optional>

#include "segproof/geometry.hpp"
#include "segproof/manifest.hpp"
#include "segproof/postprocess.hpp"
#include "segproof/preprocess.hpp"
#include "segproof/tensor.hpp"

namespace segproof {

struct Prediction {
    Picture labels;  // at source size
    Geometry geometry;
    double preprocess_ms = 0;
    double run_ms = 0;
    double postprocess_ms = 0;
};

// Labels pictures with an opened network by the contracts of its manifest. One thread at a time.
class Segmenter {
  public:
    // Throws Error when the manifest asks for what this library does not do: a CRF.
    Segmenter(Manifest manifest, std::unique_ptr<Network> network);

    const Manifest& manifest() const { return manifest_; }

    // Labels one picture, BGR; without `roi` the network sees all of it.
    Prediction predict(const Picture& image_bgr, const std::optional<Rect>& roi = std::nullopt);

    // Labels the next frame of a video and remembers it for the frame after, where the contract has a prior. The
    // memory begins anew when the size of the frames changes; of a cut, the caller tells it by `reset`.
    Prediction track(const Picture& frame_bgr, const std::optional<Rect>& roi = std::nullopt);

    // Forgets the frame before.
    void reset() { before_.reset(); }

  private:
    struct Frame {
        Picture labels;
        Geometry geometry;
    };

    Prediction label(const Picture& image_bgr, const std::optional<Rect>& roi, bool remember);

    Manifest manifest_;
    std::unique_ptr<Network> network_;
    Preprocessor preprocessor_;
    std::optional<Frame> before_;
};

// The output that a manifest's labels are read from: the first that holds labels or logits.
const TensorSpec& label_output(const Manifest& manifest);

}  // namespace segproof
