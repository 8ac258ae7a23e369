// Prints hashes of what this library makes of cases that Python draws:
//   segproof-check decode FILE...    a line a picture: height, width and hash of its BGR bytes, or the refusal
//   segproof-check carry < CASES     a line a case: the hash of a frame's tensor with the labels of the frame before
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "draw.hpp"
#include "images.hpp"
#include "segproof/error.hpp"
#include "segproof/geometry.hpp"
#include "segproof/preprocess.hpp"

namespace {

using namespace segproof;
using Json = nlohmann::json;

constexpr std::size_t kLargest = std::size_t{1} << 30U;

void decode(const std::string& path) {
    try {
        const Picture image = decode_image(read_file(path, kLargest));
        std::printf("%d %d %016" PRIx64 "\n", image.size.height, image.size.width,
                    hash_bytes(image.bytes.data(), image.bytes.size()));
    } catch (const Error& error) {
        std::printf("error: %s\n", error.what());
    }
}

std::optional<Rect> roi_of(const Json& value) {
    if (value.is_null()) return std::nullopt;
    return Rect{value.at(0), value.at(1), value.at(2), value.at(3)};
}

// A case: {"manifest", "seed", "classes", "before", "after", "roi_before", "roi_after"}.
void carry(const std::string& line) {
    const Json data = Json::parse(line);
    const PreprocessSpec spec = parse_manifest(data.at("manifest").dump(), "case").preprocess;
    const auto seed = data.at("seed").get<std::uint32_t>();
    Picture labels(spec.size, 1);
    labels.bytes = draw_bytes(seed, labels.bytes.size());
    for (std::uint8_t& label : labels.bytes) label = static_cast<std::uint8_t>(label % data.at("classes").get<int>());
    const Geometry before =
        plan_geometry({data.at("before").at(0), data.at("before").at(1)}, spec, roi_of(data.at("roi_before")));
    const Size size = {data.at("after").at(0), data.at("after").at(1)};
    const Geometry after = plan_geometry(size, spec, roi_of(data.at("roi_after")));
    Picture image(size, 3);
    image.bytes = draw_bytes(seed, image.bytes.size());
    const std::optional<Picture> prior = carry_labels(labels, before, after);
    const Tensor tensor = Preprocessor(spec)(image, after, prior ? &*prior : nullptr);
    std::visit(
        [](const auto& values) {
            std::printf("%016" PRIx64 "\n", hash_bytes(values.data(), values.size() * sizeof(values[0])));
        },
        tensor.values);
}

}  // namespace

int main(int count, char** arguments) {
    const std::string mode = count > 1 ? arguments[1] : "";
    try {
        if (mode == "decode") {
            for (int i = 2; i < count; ++i) decode(arguments[i]);
            return 0;
        }
        if (mode == "carry") {
            for (std::string line; std::getline(std::cin, line);) carry(line);
            return 0;
        }
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 1;
    }
    std::cerr << "usage: segproof-check decode FILE... | carry\n";
    return 2;
}
