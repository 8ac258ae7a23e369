#include "segproof/segmenter.hpp"

#include <chrono>
#include <utility>

#include "segproof/error.hpp"

namespace segproof {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

}  // namespace

const TensorSpec& label_output(const Manifest& manifest) {
    for (const TensorSpec& output : manifest.outputs) {
        if (output.role != Role::image) return output;
    }
    throw Error("manifest.outputs: none is logits or labels");
}

Segmenter::Segmenter(Manifest manifest, std::unique_ptr<Network> network)
    : manifest_(std::move(manifest)), network_(std::move(network)), preprocessor_(manifest_.preprocess) {
    if (manifest_.postprocess.has_crf) {
        throw Error("manifest.postprocess.crf: is not done here; export the model without it or use the Python tools");
    }
}

Prediction Segmenter::predict(const Picture& image_bgr, const std::optional<Rect>& roi) {
    return label(image_bgr, roi, false);
}

Prediction Segmenter::track(const Picture& frame_bgr, const std::optional<Rect>& roi) {
    return label(frame_bgr, roi, preprocessor_.spec().has_prior());
}

Prediction Segmenter::label(const Picture& image_bgr, const std::optional<Rect>& roi, bool remember) {
    const auto start = Clock::now();
    Prediction prediction;
    prediction.geometry = plan_geometry(image_bgr.size, preprocessor_.spec(), roi);
    std::optional<Picture> prior;
    if (remember && before_) prior = carry_labels(before_->labels, before_->geometry, prediction.geometry);
    const Tensor input = preprocessor_(image_bgr, prediction.geometry, prior ? &*prior : nullptr);
    const auto prepared = Clock::now();
    const Tensor output = network_->run(input);
    const auto ran = Clock::now();
    Labels labels = postprocess(manifest_.postprocess, label_output(manifest_), output, prediction.geometry);
    if (remember) before_ = Frame{std::move(labels.network), prediction.geometry};
    prediction.labels = std::move(labels.source);
    prediction.preprocess_ms = milliseconds(start, prepared);
    prediction.run_ms = milliseconds(prepared, ran);
    prediction.postprocess_ms = milliseconds(ran, Clock::now());
    return prediction;
}

}  // namespace segproof
