// Every row of mobile_demo/vectors/vectors.csv.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "draw.hpp"
#include "segproof/geometry.hpp"
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
    return spec;
}

std::optional<Rect> roi_of(Row& row) {
    if (row["roi"].empty()) return std::nullopt;
    const std::vector<std::string> parts = split(row["roi"], ':');
    return Rect{std::stoi(parts.at(0)), std::stoi(parts.at(1)), std::stoi(parts.at(2)), std::stoi(parts.at(3))};
}

std::uint64_t compute(Row& row) {
    const PreprocessSpec spec = spec_of(row);
    const Size source = {std::stoi(row["source_h"]), std::stoi(row["source_w"])};
    const auto seed = static_cast<std::uint32_t>(std::stoul(row["seed"]));
    const Geometry geometry = plan_geometry(source, spec, roi_of(row));
    if (row["kind"] == "restore") {
        Picture labels(spec.size, 1);
        labels.bytes = draw_bytes(seed, spec.size.area());
        for (std::uint8_t& label : labels.bytes) label = static_cast<std::uint8_t>(label % 19);
        const Picture restored = restore_labels(geometry, labels, 255);
        return hash_bytes(restored.bytes.data(), restored.bytes.size());
    }
    Picture image(source, 3);
    image.bytes = draw_bytes(seed, source.area() * 3);
    const Tensor tensor = Preprocessor(spec)(image, geometry);
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
