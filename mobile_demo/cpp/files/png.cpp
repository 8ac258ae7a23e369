#include <png.h>

#include <csetjmp>
#include <cstring>

#include "images.hpp"
#include "segproof/error.hpp"

namespace segproof {
namespace {

// What the callbacks of libpng share. Errors leave libpng by longjmp, so nothing with a destructor may be created
// between setjmp and the calls: all memory is owned by whoever calls.
struct Reader {
    const Bytes* bytes = nullptr;
    std::size_t at = 0;
    char message[128] = {};
};

void on_error(png_structp png, png_const_charp message) {
    auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
    std::strncpy(reader->message, message, sizeof(reader->message) - 1);
    png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, std::size_t length) {
    auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
    if (length > reader->bytes->size() - reader->at) png_error(png, "it is cut short");
    std::memcpy(to, reader->bytes->data() + reader->at, length);
    reader->at += length;
}

struct Decoder {
    png_structp png = nullptr;
    png_infop info = nullptr;
    ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
};

struct Header {
    png_uint_32 height = 0;
    png_uint_32 width = 0;
    std::size_t row_bytes = 0;  // as stored
};

bool read_header(Decoder& decoder, Header& header) {
    if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
    png_read_info(decoder.png, decoder.info);
    header.height = png_get_image_height(decoder.png, decoder.info);
    header.width = png_get_image_width(decoder.png, decoder.info);
    header.row_bytes = png_get_rowbytes(decoder.png, decoder.info);
    return true;
}

// Asks for 8-bit BGR: palettes and few bits expanded, the high byte of 16 bits, alpha dropped and never blended.
bool start_rows(Decoder& decoder, std::size_t& row_bytes) {
    if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
    const int color = png_get_color_type(decoder.png, decoder.info);
    png_set_strip_16(decoder.png);
    png_set_packing(decoder.png);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(decoder.png);
    if (color == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(decoder.png);
    if ((color & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(decoder.png);
    png_set_strip_alpha(decoder.png);
    png_set_bgr(decoder.png);
    png_set_interlace_handling(decoder.png);
    png_read_update_info(decoder.png, decoder.info);
    row_bytes = png_get_rowbytes(decoder.png, decoder.info);
    return true;
}

bool read_rows(Decoder& decoder, png_bytepp rows) {
    if (setjmp(png_jmpbuf(decoder.png)) != 0) return false;
    png_read_image(decoder.png, rows);
    png_read_end(decoder.png, decoder.info);
    return true;
}

}  // namespace

Stored decode_png(const Bytes& bytes) {
    Reader reader;
    reader.bytes = &bytes;
    const auto fail = [&reader] { return Error("the PNG is damaged (" + one_line(reader.message) + ")"); };
    Decoder decoder;
    decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
    decoder.info = decoder.png == nullptr ? nullptr : png_create_info_struct(decoder.png);
    if (decoder.info == nullptr) throw Error("the PNG library does not start");
    png_set_read_fn(decoder.png, &reader, on_read);
    png_set_chunk_malloc_max(decoder.png, png_alloc_size_t{8} << 20U);
    png_set_user_limits(decoder.png, 1U << 24U, 1U << 24U);
    Header header;
    if (!read_header(decoder, header)) throw fail();
    check_picture_size(header.height, header.width);
    // Deflate makes at most about 1032 bytes of one: a header that claims more lies, and gets no memory.
    if (header.row_bytes / 1100 * header.height > bytes.size()) throw Error("the PNG is cut short");
    std::size_t row_bytes = 0;
    if (!start_rows(decoder, row_bytes)) throw fail();
    Stored stored{Picture({static_cast<int>(header.height), static_cast<int>(header.width)}, 3), {}};
    if (row_bytes != stored.image_bgr.stride()) throw Error("the PNG has a kind of pixel that is not read here");
    std::vector<png_bytep> rows;
    for (int y = 0; y < stored.image_bgr.size.height; ++y) rows.push_back(stored.image_bgr.row(y));
    if (!read_rows(decoder, rows.data())) throw fail();
    png_bytep exif = nullptr;
    png_uint_32 length = 0;
    if (png_get_eXIf_1(decoder.png, decoder.info, &length, &exif) != 0 && exif != nullptr) {
        stored.exif.assign(exif, exif + length);
    }
    return stored;
}

Bytes encode_png(const Picture& picture) {
    png_image image = {};
    image.version = PNG_IMAGE_VERSION;
    image.height = static_cast<png_uint_32>(picture.size.height);
    image.width = static_cast<png_uint_32>(picture.size.width);
    image.format = picture.channels == 3 ? PNG_FORMAT_BGR : PNG_FORMAT_GRAY;
    png_alloc_size_t length = PNG_IMAGE_PNG_SIZE_MAX(image);
    Bytes bytes(length);
    if (png_image_write_to_memory(&image, bytes.data(), &length, 0, picture.bytes.data(), 0, nullptr) == 0) {
        throw Error(std::string("cannot be encoded as PNG (") + one_line(image.message) + ")");
    }
    bytes.resize(length);
    return bytes;
}

}  // namespace segproof
