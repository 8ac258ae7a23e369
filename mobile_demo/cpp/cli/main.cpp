// segproof-cpp: a picture and a model in, an overlay out.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>
#include <utility>

#include "files.hpp"
#include "images.hpp"
#include "onnx_runtime.hpp"
#include "options.hpp"
#include "segproof/error.hpp"
#include "segproof/overlay.hpp"
#include "segproof/segmenter.hpp"

namespace {

using namespace segproof;

constexpr std::size_t kLargestImage = std::size_t{1} << 30U;
constexpr std::size_t kLargestModel = std::size_t{1} << 31U;
constexpr std::size_t kLargestManifest = std::size_t{16} << 20U;

void require_png(const std::string& path) {
    const bool is_png = path.size() > 4 && path.compare(path.size() - 4, 4, ".png") == 0;
    if (!is_png) throw UsageError{path + ": pictures are written as .png"};
}

Picture load_image(const std::string& path) {
    const Bytes bytes = read_file(path, kLargestImage);
    try {
        return decode_image(bytes);
    } catch (const Error& error) {
        throw Error(path + ": " + error.what());
    }
}

void check_hash(const Manifest& manifest, const Bytes& model, const std::string& path) {
    if (!manifest.artifact.sha256) return;
    const std::string found = sha256(model);
    if (found == *manifest.artifact.sha256) return;
    throw Error(path + ": SHA-256 " + found.substr(0, 12) + "... is not the " +
                one_line(*manifest.artifact.sha256, 12) +
                "... of its manifest; the file was changed or damaged: export it again");
}

// Opens a model with the manifest beside it, or with the one inside it.
Segmenter open_segmenter(const Options& options) {
    const std::string beside = options.model + ".json";
    const Bytes bytes = read_file(options.model, kLargestModel);
    std::optional<Manifest> manifest;
    if (exists(beside)) {
        const Bytes text = read_file(beside, kLargestManifest);
        manifest = parse_manifest({reinterpret_cast<const char*>(text.data()), text.size()}, beside);
        check_hash(*manifest, bytes, options.model);
    }
    const OnnxRuntime runtime(options.runtime);
    OnnxModel model(runtime, bytes, options.model, options.threads);
    if (!manifest) {
        const std::optional<std::string> inside = model.embedded_manifest();
        if (!inside)
            throw Error(options.model + ": an ONNX file without a segproof manifest; export it with seg-export");
        manifest = parse_manifest(*inside, options.model);
    }
    std::unique_ptr<Network> network = std::move(model).open(*manifest);
    return Segmenter(std::move(*manifest), std::move(network));
}

std::size_t count_classes(const Picture& labels) {
    std::array<bool, 256> seen{};
    for (const std::uint8_t label : labels.bytes) seen[label] = true;
    return static_cast<std::size_t>(std::count(seen.begin(), seen.end(), true));
}

void run(const Options& options) {
    require_png(options.overlay);
    if (!options.mask.empty()) require_png(options.mask);
    const Picture image = load_image(options.image);
    Segmenter segmenter = open_segmenter(options);
    const Prediction found = segmenter.predict(image, options.roi);
    write_file(options.overlay,
               encode_png(draw_overlay(image, found.labels, segmenter.manifest().labels, options.opacity)));
    if (!options.mask.empty()) write_file(options.mask, encode_png(found.labels));
    std::printf("%s: %dx%d, %zu classes, preprocess %.1f ms, network %.1f ms, postprocess %.1f ms\n",
                options.overlay.c_str(), image.size.width, image.size.height, count_classes(found.labels),
                found.preprocess_ms, found.run_ms, found.postprocess_ms);
}

}  // namespace

int main(int count, char** arguments) {
    try {
        const Options options = parse_options(std::vector<std::string>(arguments + 1, arguments + count));
        if (options.help) {
            std::fputs(kHelp, stdout);
            return 0;
        }
        run(options);
        return 0;
    } catch (const UsageError& error) {
        std::cerr << "error: " << one_line(error.message) << " (segproof-cpp --help)\n";
        return 2;
    } catch (const std::bad_alloc&) {
        std::cerr << "error: not enough memory\n";
    } catch (const std::exception& error) {
        std::cerr << "error: " << one_line(error.what(), 400) << "\n";
    }
    return 1;
}
