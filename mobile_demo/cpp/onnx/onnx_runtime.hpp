// ONNX Runtime, loaded while the program runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "segproof/manifest.hpp"
#include "segproof/tensor.hpp"

namespace segproof {

// Loads the library at `path`; with an empty path, "libonnxruntime.so.1" or "libonnxruntime.so" by the system's own
// rules. Throws Error when there is none, or one without the C interface.
class OnnxRuntime {
  public:
    explicit OnnxRuntime(const std::string& path);
    ~OnnxRuntime();
    OnnxRuntime(const OnnxRuntime&) = delete;
    OnnxRuntime& operator=(const OnnxRuntime&) = delete;

    std::string version() const;

    struct Library;
    const std::shared_ptr<const Library>& library() const { return library_; }

  private:
    std::shared_ptr<const Library> library_;
};

// One ONNX model; it keeps the library loaded.
class OnnxModel {
  public:
    // `threads` is the number inside one operator, 0 what the runtime chooses. `where` names the file in messages.
    // Throws Error when the bytes are no readable model.
    OnnxModel(const OnnxRuntime& runtime, const std::vector<std::uint8_t>& bytes, std::string where, int threads);
    ~OnnxModel();
    OnnxModel(OnnxModel&&) noexcept;

    // The manifest inside the model, nothing when there is none.
    std::optional<std::string> embedded_manifest() const;

    // Returns the network that `manifest` describes; throws Error when the model has no such inputs and outputs.
    std::unique_ptr<Network> open(const Manifest& manifest) &&;

    struct State;

  private:
    std::unique_ptr<State> state_;
};

}  // namespace segproof
