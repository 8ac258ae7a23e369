// Every row of mobile_demo/vectors/vectors.csv.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include "draw.hpp"
#include "segproof/geometry.hpp"
#include "segproof/postprocess.hpp"
#include "segproof/preprocess.hpp"

namespace segproof {
namespace {

using Row = std::map<std::string, std::string>;

std::vector<std::string> split(const std::string& line, char by) {
    std::vector<std::string> parts(1);
    for (const char letter : line) {
        if (letter == by)
            parts.emplace_back();
        else
            parts.back() += letter;
    }
    return parts;
}

std::vector<Row> read_rows() {
    std::ifstream stream(SEGPROOF_VECTORS);
    std::string line;
    std::getline(stream, line);
    const std::vector<std::string> names = split(line, ',');
    std::vector<Row> rows;
    while (std::getline(stream, line)) {
        const std::vector<std::string> values = split(line, ',');
        REQUIRE(values.size() == names.size());
        Row row;
        for (std::size_t i = 0; i < names.size(); ++i) row[names[i]] = values[i];
        rows.push_back(row);
    }
    return rows;
}

void set_norm(PreprocessSpec& spec, const std::string& norm) {
    const double whole = 1.0 / 255.0;
    if (norm == "imagenet") {
        spec.scale = whole, spec.mean = {0.485, 0.456, 0.406}, spec.deviation = {0.229, 0.224, 0.225};
    } else if (norm == "half") {
        spec.scale = whole, spec.mean = {0.5, 0.5, 0.5}, spec.deviation = {0.5, 0.5, 0.5};
    } else if (norm == "pixels") {
        spec.scale = 1.0, spec.mean = {123.675, 116.28, 103.53}, spec.deviation = {58.395, 57.12, 57.375};
    } else {
        REQUIRE(norm == "raw");
        spec.dtype = DType::uint8, spec.mean = {0, 0, 0}, spec.deviation = {1, 1, 1};
    }
    if (spec.color == Color::bgr) {
        std::swap(spec.mean[0], spec.mean[2]);
        std::swap(spec.deviation[0], spec.deviation[2]);
    } else if (spec.color == Color::gray) {
        spec.mean.resize(1);
        spec.deviation.resize(1);
    }
}

PreprocessSpec spec_of(Row& row) {
    PreprocessSpec spec;
    spec.size = {std::stoi(row["size_h"]), std::stoi(row["size_w"])};
    spec.color =
        std::map<std::string, Color>{{"rgb", Color::rgb}, {"bgr", Color::bgr}, {"gray", Color::gray}}.at(row["color"]);
    spec.fit =
        std::map<std::string, Fit>{
            {"stretch", Fit::stretch}, {"letterbox", Fit::letterbox}, {"center_crop", Fit::center_crop}}
            .at(row["resize"]);
    spec.interpolation = row["interpolation"] == "nearest" ? Interpolation::nearest : Interpolation::linear_exact;
    spec.halve = row["reduce"] == "halve";
    spec.pad_value = static_cast<std::uint8_t>(std::stoi(row["pad_value"]));
    spec.layout = row["layout"] == "nchw" ? Layout::nchw : Layout::nhwc;
    set_norm(spec, row["norm"]);
    if (row["kind"] == "prior") {  // label 18 has no value
        for (int label = 0; label < 18; ++label) {
            spec.prior_values.push_back(static_cast<std::uint8_t>(20 + 13 * label));
        }
        spec.mean.push_back(0), spec.deviation.push_back(1);
    }
    return spec;
}

std::optional<Rect> roi_of(Row& row) {
    if (row["roi"].empty()) return std::nullopt;
    const std::vector<std::string> parts = split(row["roi"], ':');
    return Rect{std::stoi(parts.at(0)), std::stoi(parts.at(1)), std::stoi(parts.at(2)), std::stoi(parts.at(3))};
}

Picture draw_labels(std::uint32_t seed, Size size) {
    Picture labels(size, 1);
    labels.bytes = draw_bytes(seed, size.area());
    for (std::uint8_t& label : labels.bytes) label = static_cast<std::uint8_t>(label % 19);
    return labels;
}

// Labels of drawn scores, of which most are tied: five classes, at a quarter of the network's size.
Picture label_scores(Row& row, std::uint32_t seed, const Geometry& geometry) {
    TensorSpec output;
    output.role = Role::logits;
    output.layout = row["layout"] == "nchw" ? Layout::nchw : Layout::nhwc;
    const std::int64_t height = geometry.size.height / 4;
    const std::int64_t width = geometry.size.width / 4;
    output.shape = {1, height, width, 5};
    if (output.layout == Layout::nchw) output.shape = {1, 5, height, width};
    std::vector<float> scores;
    for (const std::uint8_t byte : draw_bytes(seed, static_cast<std::size_t>(5 * height * width))) {
        scores.push_back(static_cast<float>(byte % 4));
    }
    PostprocessSpec spec;
    spec.outside_label = static_cast<std::uint8_t>(std::stoi(row["pad_value"]));
    return postprocess(spec, output, {output.shape, std::move(scores)}, geometry).source;
}

std::uint64_t hash_picture(const Picture& picture) {
    return hash_bytes(picture.bytes.data(), picture.bytes.size());
}

std::uint64_t compute(Row& row) {
    const PreprocessSpec spec = spec_of(row);
    const Size source = {std::stoi(row["source_h"]), std::stoi(row["source_w"])};
    const auto seed = static_cast<std::uint32_t>(std::stoul(row["seed"]));
    const Geometry geometry = plan_geometry(source, spec, roi_of(row));
    if (row["kind"] == "restore") return hash_picture(restore_labels(geometry, draw_labels(seed, spec.size), 255));
    if (row["kind"] == "label") return hash_picture(label_scores(row, seed, geometry));
    std::optional<Picture> prior;
    if (row["kind"] == "prior") {
        prior = carry_labels(draw_labels(seed, spec.size), plan_geometry(source, spec), geometry);
    }
    Picture image(source, 3);
    image.bytes = draw_bytes(seed, source.area() * 3);
    const Tensor tensor = Preprocessor(spec)(image, geometry, prior ? &*prior : nullptr);
    return std::visit([](const auto& values) { return hash_bytes(values.data(), values.size() * sizeof(values[0])); },
                      tensor.values);
}

TEST_CASE("every golden vector is reproduced") {
    const std::uint16_t one = 1;
    REQUIRE(*reinterpret_cast<const std::uint8_t*>(&one) == 1);  // the hashes are of little-endian values
    std::vector<Row> rows = read_rows();
    std::size_t reproduced = 0;
    std::size_t floats = 0;
    for (Row& row : rows) {
        std::ostringstream found;
        found << std::hex;
        found.width(16);
        found.fill('0');
        found << compute(row);
        INFO("kind ", row["kind"], " seed ", row["seed"]);
        CHECK(found.str() == row["fnv1a64"]);
        if (found.str() == row["fnv1a64"]) {
            ++reproduced;
            floats += row["norm"] == "raw" ? 0 : 1;
        }
    }
    CHECK(reproduced == rows.size());
    MESSAGE(reproduced, " golden vectors are reproduced, ", floats, " of them float32");  // compared with the file
}

TEST_CASE("hash and generator are the published ones") {
    CHECK(hash_bytes("", 0) == 0xcbf29ce484222325U);
    CHECK(hash_bytes("foobar", 6) == 0x85944171f73967e8U);
    CHECK(Xorshift(2463534242U).next() == 723471715U);
}

}  // namespace
}  // namespace segproof
