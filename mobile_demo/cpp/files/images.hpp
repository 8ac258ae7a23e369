// Files become pixels here, as the contract says: 8-bit B, G, R, upright, without alpha.
#pragma once

#include <string>

#include "files.hpp"
#include "segproof/picture.hpp"

namespace segproof {

// Most pixels of a picture that is decoded: 0.4 GB as BGR.
constexpr std::size_t kMostPicturePixels = std::size_t{1} << 27U;

// Decodes PNG, JPEG or PPM (P5, P6). EXIF orientation is applied, alpha dropped, grey repeated, 16-bit samples keep
// their high byte. Throws Error without a file name when the bytes are no whole picture of these, or too large a one.
Picture decode_image(const Bytes& bytes);

// The parts of `decode_image`: pictures as they are stored, and the EXIF block where there is one.
struct Stored {
    Picture image_bgr;
    Bytes exif;
};
Stored decode_png(const Bytes& bytes);
Stored decode_jpeg(const Bytes& bytes);
Stored decode_ppm(const Bytes& bytes);

// EXIF orientation 1..8 of a block that begins with its TIFF header; 1 where it says nothing or is damaged.
int exif_orientation(const Bytes& exif);

// Turns a stored picture upright.
Picture turn(Picture image, int orientation);

// Throws Error when a picture of this size is not decoded.
void check_picture_size(std::uint64_t height, std::uint64_t width);

// Encodes BGR or one-channel bytes as PNG.
Bytes encode_png(const Picture& picture);

}  // namespace segproof
