#include "images.hpp"

#include <algorithm>
#include <utility>

#include "segproof/error.hpp"

namespace segproof {
namespace {

// Reads the numbers of a TIFF block in its byte order; outside of the block they are 0.
class Tiff {
  public:
    explicit Tiff(const Bytes& bytes) : bytes_(bytes), big_(!bytes.empty() && bytes[0] == 'M') {}

    std::uint32_t number(std::size_t at, std::size_t length) const {
        if (at > bytes_.size() || length > bytes_.size() - at) return 0;
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < length; ++i) {
            value = value << 8U | bytes_[big_ ? at + i : at + length - 1 - i];
        }
        return value;
    }

  private:
    const Bytes& bytes_;
    bool big_;
};

bool begins(const Bytes& bytes, std::initializer_list<std::uint8_t> magic) {
    return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

Stored decode_stored(const Bytes& bytes) {
    if (bytes.empty()) throw Error("the file is empty");
    if (begins(bytes, {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'})) return decode_png(bytes);
    if (begins(bytes, {0xFF, 0xD8})) return decode_jpeg(bytes);
    if (begins(bytes, {'P', '6'}) || begins(bytes, {'P', '5'})) return decode_ppm(bytes);
    throw Error("not a PNG, JPEG or binary PPM; save it as one of these");
}

// The numbers of a PPM header, with comments between them.
class PpmHeader {
  public:
    explicit PpmHeader(const Bytes& bytes) : bytes_(bytes) {}

    std::uint32_t next() {
        while (at_ < bytes_.size() && (is_space(bytes_[at_]) || bytes_[at_] == '#')) {
            if (bytes_[at_] == '#')
                at_ = static_cast<std::size_t>(
                    std::find(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), bytes_.end(), '\n') - bytes_.begin());
            else
                ++at_;
        }
        std::uint32_t value = 0;
        const std::size_t start = at_;
        while (at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '9' && value < 100'000'000) {
            value = value * 10 + bytes_[at_++] - '0';
        }
        if (at_ == start || at_ >= bytes_.size() || !is_space(bytes_[at_])) throw Error("the PPM's header is damaged");
        return value;
    }

    // Where the samples begin: one space after the last number.
    std::size_t samples() const { return at_ + 1; }

  private:
    static bool is_space(std::uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

    const Bytes& bytes_;
    std::size_t at_ = 2;
};

}  // namespace

void check_picture_size(std::uint64_t height, std::uint64_t width) {
    if (height < 1 || width < 1) throw Error("the picture has no pixel");
    if (height > kMostPicturePixels || width > kMostPicturePixels || height * width > kMostPicturePixels) {
        throw Error(std::to_string(width) + "x" + std::to_string(height) + " pixels are more than the " +
                    std::to_string(kMostPicturePixels) + " that are decoded; scale it down first");
    }
}

Picture decode_image(const Bytes& bytes) {
    Stored stored = decode_stored(bytes);
    return turn(std::move(stored.image_bgr), exif_orientation(stored.exif));
}

Stored decode_ppm(const Bytes& bytes) {
    PpmHeader header(bytes);
    const std::uint32_t width = header.next();
    const std::uint32_t height = header.next();
    const std::uint32_t most = header.next();
    check_picture_size(height, width);
    if (most != 255 && most != 65535)
        throw Error("the PPM's largest value is " + std::to_string(most) + ", wanted 255 or 65535");
    const std::size_t channels = bytes[1] == '6' ? 3 : 1;
    const std::size_t sample = most == 255 ? 1 : 2;  // of two bytes the first is the high one
    const std::size_t count = std::size_t{height} * width;
    const std::size_t start = header.samples();
    if (start > bytes.size() || bytes.size() - start < count * channels * sample) throw Error("the PPM is cut short");
    Stored stored{Picture({static_cast<int>(height), static_cast<int>(width)}, 3), {}};
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint8_t* from = bytes.data() + start + i * channels * sample;
        for (std::size_t c = 0; c < 3; ++c) {
            stored.image_bgr.bytes[i * 3 + c] = from[channels == 3 ? (2 - c) * sample : 0];
        }
    }
    return stored;
}

int exif_orientation(const Bytes& exif) {
    const Tiff tiff(exif);
    const std::uint32_t order = tiff.number(0, 2);
    if ((order != 0x4949 && order != 0x4D4D) || tiff.number(2, 2) != 42) return 1;
    const std::size_t directory = tiff.number(4, 4);
    const std::size_t entries = std::min<std::size_t>(tiff.number(directory, 2), 512);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (tiff.number(entry, 2) != 0x0112) continue;
        const std::uint32_t value = tiff.number(entry + 8, 2);
        return tiff.number(entry + 2, 2) == 3 && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

Picture turn(Picture image, int orientation) {
    if (orientation == 1) return image;
    const bool swaps = orientation >= 5;
    const auto [height, width] = image.size;
    Picture out(swaps ? Size{width, height} : image.size, image.channels);
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    for (int y = 0; y < out.size.height; ++y) {
        std::uint8_t* to = out.row(y);
        for (int x = 0; x < out.size.width; ++x) {
            const int across = swaps ? y : x;
            const int down = swaps ? x : y;
            const int row = from_bottom ? height - 1 - down : down;
            const int column = from_right ? width - 1 - across : across;
            const std::uint8_t* from = image.row(row) + static_cast<std::ptrdiff_t>(column) * image.channels;
            to = std::copy(from, from + image.channels, to);
        }
    }
    return out;
}

}  // namespace segproof
