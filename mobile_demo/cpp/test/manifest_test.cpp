// The manifest is read strictly: what is wrong is refused in one line, whatever the file holds.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "draw.hpp"
#include "manifest_text.hpp"
#include "segproof/error.hpp"
#include "segproof/manifest.hpp"

namespace segproof {
namespace {

using Json = nlohmann::json;

// The message of the refusal; empty when the manifest was read.
std::string refusal(const std::string& text) {
    try {
        const Manifest read = parse_manifest(text, "face.onnx.json");
        // Whatever is read is small enough to be used.
        CHECK(read.preprocess.size.area() <= std::size_t{1} << 24U);
        CHECK(read.preprocess.channels() <= 4);
        CHECK(read.labels.palette.size() == read.labels.names.size());
        return {};
    } catch (const Error& error) {
        const std::string message = error.what();
        CHECK(message.rfind("face.onnx.json: ", 0) == 0);
        CHECK(message.find('\n') == std::string::npos);
        CHECK(message.size() < 400);
        return message;
    }
}

// The refusal of the manifest with `value` at `pointer`; without a value the field is removed.
std::string refusal_with(const std::string& pointer, const std::string& value) {
    Json data = Json::parse(kManifestText);
    const Json::json_pointer at(pointer);
    if (value.empty())
        data[at.parent_pointer()].erase(at.back());
    else
        data[at] = Json::parse(value);
    return refusal(data.dump());
}

bool says(const std::string& message, const std::string& part) {
    INFO(message);
    return message.find(part) != std::string::npos;
}

TEST_CASE("a manifest is read") {
    const Manifest read = parse_manifest(kManifestText, "m");
    CHECK(read.preprocess.size == Size{8, 6});
    CHECK(read.preprocess.mean[1] == 0.456);
    CHECK(read.labels.palette[1][1] == 214);
    CHECK(read.outputs[0].size() == Size{4, 3});
    CHECK(read.artifact.bytes == 12);
    CHECK_FALSE(read.artifact.sha256.has_value());
    CHECK(read.num_classes == 3);
}

TEST_CASE("a manifest with a prior is read") {
    Json data = Json::parse(kManifestText);
    data["preprocess"]["prior"] = "previous_labels";
    data["preprocess"]["prior_values"] = {85, 170, 255};
    data["preprocess"]["version"] = 2;
    data["preprocess"]["mean"].push_back(0);
    data["preprocess"]["std"].push_back(0.25);
    data["inputs"][0]["shape"][1] = 4;
    const Manifest read = parse_manifest(data.dump(), "m");
    CHECK(read.preprocess.has_prior());
    CHECK(read.preprocess.channels() == 4);
    data["preprocess"]["prior_values"].push_back(1);
    CHECK(says(refusal(data.dump()), "prior_values"));
    data["preprocess"]["version"] = 1;
    CHECK(says(refusal(data.dump()), "version"));
}

TEST_CASE("what is wrong is named") {
    struct Case {
        const char* pointer;
        const char* value;
        const char* named;
    };
    const Case cases[] = {
        {"/schema_version", "2", "schema_version: this program reads version 1"},
        {"/surprise", "1", "manifest.surprise: unknown field"},
        {"/preprocess/sigma", "1", "manifest.preprocess.sigma: unknown field"},
        {"/labels", "", "manifest.labels: missing field"},
        {"/preprocess/color", "\"cmyk\"", "preprocess.color: expected one of rgb, bgr, gray"},
        {"/preprocess/size_hw", "[0, 6]", "size_hw[0]"},
        {"/preprocess/size_hw", "[8192, 8192]", "size_hw"},
        {"/preprocess/size_hw", "[8.0, 6]", "size_hw[0]"},
        {"/preprocess/size_hw", "[18446744073709551615, 6]", "size_hw[0]"},
        {"/preprocess/size_hw", "[8, 6, 1]", "expected 2 entries, found 3"},
        {"/preprocess/pad_value", "256", "pad_value"},
        {"/preprocess/pad_value", "true", "pad_value"},
        {"/preprocess/scale", "0", "must be positive"},
        {"/preprocess/scale", "1e-60", "must be positive"},
        {"/preprocess/scale", "1e300", "must be positive"},
        {"/preprocess/mean", "[0, 0, 1e300]", "finite"},
        {"/preprocess/std", "[1, 1, -1]", "must be positive"},
        {"/preprocess/mean", "[0.5]", "as many entries"},
        {"/preprocess/version", "2", "version"},
        {"/preprocess/dtype", "\"uint8\"", "uint8 tensors need scale 1"},
        {"/preprocess/prior", "\"previous_labels\"", "prior_values: expected one a class"},
        {"/postprocess/outside_label", "-1", "outside_label"},
        {"/postprocess/crf", "3", "postprocess.crf"},
        {"/labels/names", "[\"a\", \"a\", \"b\"]", "distinct"},
        {"/labels/palette", "[[0, 0, 0]]", "palette"},
        {"/labels/palette/1/2", "300", "palette[1][2]"},
        {"/labels/flip_pairs", "[[0, 3]]", "flip_pairs[0][1]"},
        {"/model/num_classes", "4", "labels: 3 names for 4 classes"},
        {"/inputs/0/shape", "[1, 3, 6, 8]", "inputs[0]: is not what preprocess makes"},
        {"/inputs/0/dtype", "\"uint8\"", "inputs[0].dtype"},
        {"/inputs", "[]", "inputs: expected 1 entries, found 0"},
        {"/outputs/0/shape", "[1, 2, 4, 3]", "2 channels for 3 classes"},
        {"/outputs/0/shape", "[1, 3, 5, 3]", "no whole fraction"},
        {"/outputs/0/shape", "[2, 3, 4, 3]", "a batch of one"},
        {"/outputs/0/shape", "[268435456, 268435456, 268435456, 268435456]", "too large"},
        {"/outputs/0/layout", "\"nhw\"", "shape: expected 3 entries"},
        {"/outputs/0/role", "\"image\"", "none is logits or labels"},
        {"/outputs/0/name", "\"a\\u0000b\"", "zero byte"},
        {"/graph/argmax", "0", "graph.argmax: expected true or false"},
        {"/artifact/precision", "\"fp8\"", "artifact.precision"},
    };
    for (const Case& wrong : cases) {
        INFO(wrong.pointer, " = ", wrong.value);
        CHECK(says(refusal_with(wrong.pointer, wrong.value), wrong.named));
    }
    CHECK(says(refusal(""), "not valid JSON"));
    CHECK(says(refusal("[]"), "manifest: expected an object"));
    CHECK(says(refusal(std::string(1'000'000, '[')), "not valid JSON"));
    CHECK(says(refusal(std::string(500'000, '[') + std::string(500'000, ']')), "expected an object"));
    CHECK(says(refusal(std::string((std::size_t{16} << 20U) + 1, ' ')), "too long"));
    CHECK(says(refusal("{\"a\\nb\": 1}"), "manifest.a b: unknown field"));
}

TEST_CASE("every cut of a manifest is refused") {
    const std::string text = kManifestText;
    for (std::size_t length = 0; length < text.size(); ++length) {
        CHECK_FALSE(refusal(text.substr(0, length)).empty());
    }
}

// Replaces, removes, inserts and repeats bytes.
std::string mutate(std::string text, Xorshift& generator) {
    for (std::size_t changes = 1 + generator.below(4); changes > 0 && !text.empty(); --changes) {
        const std::size_t at = generator.below(text.size());
        switch (generator.below(5)) {
            case 0:
                text[at] = static_cast<char>(generator.byte());
                break;
            case 1:
                text.erase(at, 1 + generator.below(8));
                break;
            case 2:
                text.insert(at, 1 + generator.below(3), static_cast<char>(generator.byte()));
                break;
            case 3:
                text.insert(at, text.substr(generator.below(text.size()), generator.below(40)));
                break;
            default:
                text.insert(at, std::to_string(generator.next()));
                break;
        }
    }
    return text;
}

// Values that readers trip over.
const char* const kHostile[] = {"null",
                                "true",
                                "-1",
                                "0",
                                "1e308",
                                "-1e308",
                                "1e-320",
                                "9223372036854775807",
                                "18446744073709551615",
                                "-9223372036854775808",
                                "2147483648",
                                "0.5",
                                "\"\"",
                                "\"\\u0000\"",
                                "[]",
                                "{}",
                                "[[[]]]",
                                "[1, 1, 1, 1]",
                                "\"\\ud83d\\ude00\"",
                                "4294967296",
                                "16777217"};

TEST_CASE("mutated bytes are read or refused, never more") {
    Xorshift generator(20261122);
    std::size_t refused = 0;
    for (int round = 0; round < 4000; ++round) refused += refusal(mutate(kManifestText, generator)).empty() ? 0 : 1;
    CHECK(refused > 3000);
}

TEST_CASE("hostile values are read or refused, never more") {
    const Json flat = Json::parse(kManifestText).flatten();
    std::size_t refused = 0;
    std::size_t tried = 0;
    for (const auto& entry : flat.items()) {
        for (const char* value : kHostile) {
            refused += refusal_with(entry.key(), value).empty() ? 0 : 1;
            ++tried;
        }
    }
    CHECK(tried > 1000);
    CHECK(refused > tried * 7 / 10);
}

}  // namespace
}  // namespace segproof
