// Pictures come out of files whole and upright, or are refused in one line, whatever the bytes are.
// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
// clang-format on
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "draw.hpp"
#include "images.hpp"
#include "segproof/error.hpp"

namespace segproof {
namespace {

Picture draw(Size size, int channels, std::uint32_t seed) {
    Picture picture(size, channels);
    picture.bytes = draw_bytes(seed, picture.bytes.size());
    return picture;
}

// A smooth picture, which JPEG keeps.
Picture draw_slope(Size size) {
    Picture picture(size, 3);
    for (int y = 0; y < size.height; ++y) {
        for (int x = 0; x < size.width; ++x) {
            std::uint8_t* pixel = picture.row(y) + static_cast<std::ptrdiff_t>(x) * 3;
            pixel[0] = static_cast<std::uint8_t>(255 * y / size.height);
            pixel[1] = static_cast<std::uint8_t>(255 * x / size.width);
            pixel[2] = 128;
        }
    }
    return picture;
}

Bytes encode_jpeg(const Picture& image, bool progressive, const Bytes& exif = {}) {
    jpeg_compress_struct info = {};
    jpeg_error_mgr errors = {};
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    unsigned char* data = nullptr;
    unsigned long length = 0;
    jpeg_mem_dest(&info, &data, &length);
    info.image_height = static_cast<JDIMENSION>(image.size.height);
    info.image_width = static_cast<JDIMENSION>(image.size.width);
    info.input_components = 3;
    info.in_color_space = JCS_EXT_BGR;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 90, TRUE);
    if (progressive) jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    if (!exif.empty()) jpeg_write_marker(&info, JPEG_APP0 + 1, exif.data(), static_cast<unsigned>(exif.size()));
    for (int y = 0; y < image.size.height; ++y) {
        JSAMPROW row = const_cast<JSAMPROW>(image.row(y));
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    const Bytes bytes(data, data + length);
    jpeg_destroy_compress(&info);
    std::free(data);
    return bytes;
}

Bytes encode_ppm(const Picture& picture) {
    const std::string header = (picture.channels == 3 ? "P6\n# drawn\n" : "P5\n") + std::to_string(picture.size.width) +
                               " " + std::to_string(picture.size.height) + "\n255\n";
    Bytes bytes(header.begin(), header.end());
    for (std::size_t i = 0; i < picture.bytes.size(); ++i) {
        bytes.push_back(picture.bytes[picture.channels == 3 ? i / 3 * 3 + 2 - i % 3 : i]);
    }
    return bytes;
}

Bytes exif_block(std::uint16_t orientation, bool big) {
    const auto put = [big](Bytes& to, std::uint32_t value, int length) {
        for (int i = 0; i < length; ++i) {
            to.push_back(static_cast<std::uint8_t>(value >> (8 * (big ? length - 1 - i : i))));
        }
    };
    Bytes block(2, big ? 'M' : 'I');
    put(block, 42, 2), put(block, 8, 4), put(block, 1, 2);
    put(block, 0x0112, 2), put(block, 3, 2), put(block, 1, 4), put(block, orientation, 2), put(block, 0, 2);
    put(block, 0, 4);
    return block;
}

Bytes with_magic(const Bytes& block) {
    Bytes bytes = {'E', 'x', 'i', 'f', 0, 0};
    for (const std::uint8_t byte : block) bytes.push_back(byte);
    return bytes;
}

// The message of the refusal; empty when the picture was decoded.
std::string refusal(const Bytes& bytes) {
    try {
        const Picture picture = decode_image(bytes);
        CHECK(picture.channels == 3);
        CHECK(picture.bytes.size() == picture.size.area() * 3);
        return {};
    } catch (const Error& error) {
        const std::string message = error.what();
        CHECK(message.find('\n') == std::string::npos);
        CHECK_FALSE(message.empty());
        return message;
    }
}

TEST_CASE("PNG keeps every byte") {
    const Picture image = draw({13, 17}, 3, 3);
    CHECK(decode_image(encode_png(image)).bytes == image.bytes);
    const Picture mask = draw({13, 17}, 1, 4);
    const Picture grey = decode_image(encode_png(mask));
    CHECK(grey.size == mask.size);
    for (std::size_t i = 0; i < mask.bytes.size(); ++i) {
        CHECK(grey.bytes[3 * i] == mask.bytes[i]);
        CHECK(grey.bytes[3 * i + 2] == mask.bytes[i]);
    }
}

TEST_CASE("PPM keeps every byte, and the high one of two") {
    const Picture image = draw({5, 7}, 3, 5);
    CHECK(decode_image(encode_ppm(image)).bytes == image.bytes);
    CHECK(decode_image(encode_ppm(Picture({2, 2}, 1, 9))).bytes == Bytes(12, 9));
    const std::string deep = std::string("P6 1 1 65535\n") + "\x01\x02\x03\x04\x05\x06";
    CHECK(decode_image(Bytes(deep.begin(), deep.end())).bytes == Bytes{5, 3, 1});
}

TEST_CASE("JPEG is decoded, baseline and progressive") {
    const Picture image = draw_slope({40, 56});
    for (const bool progressive : {false, true}) {
        const Picture found = decode_image(encode_jpeg(image, progressive));
        REQUIRE(found.size == image.size);
        int worst = 0;
        for (std::size_t i = 0; i < image.bytes.size(); ++i) {
            worst = std::max(worst, std::abs(found.bytes[i] - image.bytes[i]));
        }
        CHECK(worst < 12);
    }
}

TEST_CASE("EXIF orientation turns pictures upright") {
    // Stored pixels a b c / d e f, and what each orientation makes of them.
    const char* const upright[] = {"abcdef", "cbafed", "fedcba", "defabc", "adbecf", "daebfc", "fcebda", "cfbead"};
    Picture stored({2, 3}, 1);
    std::memcpy(stored.bytes.data(), "abcdef", 6);
    for (int orientation = 1; orientation <= 8; ++orientation) {
        const Picture found = turn(stored, orientation);
        CHECK(std::string(found.bytes.begin(), found.bytes.end()) == upright[orientation - 1]);
        CHECK(found.size == (orientation < 5 ? Size{2, 3} : Size{3, 2}));
        for (const bool big : {false, true}) {
            CHECK(exif_orientation(exif_block(static_cast<std::uint16_t>(orientation), big)) == orientation);
        }
    }
    CHECK(exif_orientation(exif_block(9, false)) == 1);
    CHECK(exif_orientation({}) == 1);
    const Bytes turned = encode_jpeg(draw_slope({16, 32}), false, with_magic(exif_block(6, true)));
    CHECK(decode_image(turned).size == Size{32, 16});
}

// A PNG of the given header alone, its checksum right.
Bytes png_header(std::uint32_t width, std::uint32_t height, std::uint8_t depth, std::uint8_t color) {
    Bytes bytes = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R'};
    for (const std::uint32_t side : {width, height}) {
        for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(side >> shift));
    }
    for (const std::uint8_t byte : {depth, color, std::uint8_t{0}, std::uint8_t{0}, std::uint8_t{0}})
        bytes.push_back(byte);
    std::uint32_t crc = 0xFFFFFFFFU;
    for (std::size_t i = 12; i < bytes.size(); ++i) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ (0xEDB88320U & (0U - (crc & 1U)));
    }
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(~crc >> shift));
    // The beginning of an IDAT, so that the header is read to its end.
    for (const char letter : std::string("\0\0\0\0IDAT\x35\xaf\x06\x1e", 12))
        bytes.push_back(static_cast<std::uint8_t>(letter));
    return bytes;
}

TEST_CASE("hostile headers get no memory") {
    CHECK(refusal(png_header(11000, 11000, 16, 6)).find("cut short") != std::string::npos);
    CHECK(refusal(png_header(16000, 16000, 8, 2)).find("are more than") != std::string::npos);
    CHECK_FALSE(refusal(png_header(0x7FFFFFFF, 0x7FFFFFFF, 8, 2)).empty());
    CHECK_FALSE(refusal(png_header(0, 5, 8, 2)).empty());
    const std::string ppm = "P6 11000 11000 255\nabc";
    CHECK(refusal(Bytes(ppm.begin(), ppm.end())) == "the PPM is cut short");
    const std::string large = "P6 99999999 99999999 255\nabc";
    CHECK(refusal(Bytes(large.begin(), large.end())).find("are more than") != std::string::npos);
    Bytes jpeg = encode_jpeg(draw_slope({16, 16}), true);
    for (std::size_t i = 0; i + 8 < jpeg.size(); ++i) {
        if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xC2) jpeg[i + 5] = jpeg[i + 7] = 0x2A;  // 10768 by 10768
    }
    CHECK(refusal(jpeg) == "the JPEG is cut short");
    CHECK(refusal({}) == "the file is empty");
    CHECK(refusal({'G', 'I', 'F'}).find("not a PNG, JPEG") == 0);
}

const std::vector<Bytes>& corpus() {
    static const std::vector<Bytes> made = {
        encode_png(draw({9, 11}, 3, 1)),
        encode_png(draw({9, 11}, 1, 2)),
        encode_jpeg(draw_slope({24, 33}), false, with_magic(exif_block(6, false))),
        encode_jpeg(draw_slope({24, 33}), true, with_magic(exif_block(3, true))),
        encode_ppm(draw({4, 5}, 3, 6)),
    };
    return made;
}

TEST_CASE("every cut of a picture is refused") {
    for (const Bytes& whole_file : corpus()) {
        CHECK(refusal(whole_file).empty());
        for (std::size_t length = 0; length + 1 < whole_file.size(); ++length) {
            const Bytes cut(whole_file.begin(), whole_file.begin() + static_cast<std::ptrdiff_t>(length));
            INFO("length ", length, " of ", whole_file.size());
            CHECK_FALSE(refusal(cut).empty());
        }
    }
}

TEST_CASE("mutated pictures are decoded or refused, never more") {
    Xorshift generator(20261122);
    std::size_t refused = 0;
    for (int round = 0; round < 3000; ++round) {
        Bytes bytes = corpus()[generator.below(corpus().size())];
        for (std::size_t changes = 1 + generator.below(6); changes > 0; --changes) {
            const std::size_t at = generator.below(bytes.size());
            switch (generator.below(4)) {
                case 0:
                    bytes[at] = generator.byte();
                    break;
                case 1:
                    bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << generator.below(8)));
                    break;
                case 2:
                    bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at));
                    break;
                default:
                    bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), generator.byte());
                    break;
            }
        }
        refused += refusal(bytes).empty() ? 0 : 1;
    }
    CHECK(refused > 1000);
}

TEST_CASE("damaged EXIF blocks are read within their bounds") {
    Xorshift generator(7);
    for (int round = 0; round < 3000; ++round) {
        Bytes block = exif_block(6, round % 2 == 0);
        for (int changes = 0; changes < 3; ++changes) block[generator.below(block.size())] = generator.byte();
        block.resize(generator.below(block.size() + 1));
        const int orientation = exif_orientation(block);
        CHECK(orientation >= 1);
        CHECK(orientation <= 8);
    }
}

TEST_CASE("files are written whole or not at all, and hashed as published") {
    CHECK(sha256({'a', 'b', 'c'}) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_THROWS_WITH_AS(read_file("/no/such/file", 10), doctest::Contains("no such file"), Error);
    CHECK_THROWS_WITH_AS(read_file(SEGPROOF_VECTORS, 10), doctest::Contains("are more than"), Error);
    CHECK_THROWS_WITH_AS(write_file("/no/such/folder/a.png", {1}), doctest::Contains("cannot be written"), Error);
}

}  // namespace
}  // namespace segproof
