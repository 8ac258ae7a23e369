// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "images.hpp"
#include "segproof/error.hpp"

namespace segproof {
namespace {

// Progressive files may repeat scans of next to no bytes for minutes of work.
constexpr int kMostScans = 500;

// As in png.cpp: errors leave the library by longjmp, and nothing with a destructor is created below setjmp.
struct Decoder {
    jpeg_decompress_struct info = {};
    jpeg_error_mgr errors = {};
    jpeg_progress_mgr progress = {};
    std::jmp_buf escape;
    char message[JMSG_LENGTH_MAX] = {};
    bool cut_short = false;

    ~Decoder() { jpeg_destroy_decompress(&info); }
};

Decoder* decoder_of(j_common_ptr info) {
    return static_cast<Decoder*>(info->client_data);
}

void on_error(j_common_ptr info) {
    Decoder* decoder = decoder_of(info);
    (*info->err->format_message)(info, decoder->message);
    std::longjmp(decoder->escape, 1);
}

void on_message(j_common_ptr info, int level) {
    if (level == -1 && info->err->msg_code == JWRN_JPEG_EOF) decoder_of(info)->cut_short = true;
}

void on_progress(j_common_ptr info) {
    Decoder* decoder = decoder_of(info);
    if (decoder->info.input_scan_number > kMostScans) {
        std::strcpy(decoder->message, "too many scans");
        std::longjmp(decoder->escape, 1);
    }
}

bool read_header(Decoder& decoder, const Bytes& bytes) {
    if (setjmp(decoder.escape) != 0) return false;
    jpeg_create_decompress(&decoder.info);
    decoder.info.client_data = &decoder;
    decoder.info.progress = &decoder.progress;
    decoder.progress.progress_monitor = on_progress;
    jpeg_mem_src(&decoder.info, bytes.data(), bytes.size());
    jpeg_save_markers(&decoder.info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&decoder.info, TRUE);
    decoder.info.out_color_space = JCS_EXT_BGR;
    decoder.info.dct_method = JDCT_ISLOW;
    return true;
}

bool read_rows(Decoder& decoder, Picture& image) {
    if (setjmp(decoder.escape) != 0) return false;
    jpeg_start_decompress(&decoder.info);
    while (decoder.info.output_scanline < decoder.info.output_height) {
        JSAMPROW row = image.row(static_cast<int>(decoder.info.output_scanline));
        jpeg_read_scanlines(&decoder.info, &row, 1);
    }
    jpeg_finish_decompress(&decoder.info);
    return true;
}

Bytes find_exif(const Decoder& decoder) {
    constexpr char kMagic[] = "Exif\0";  // and the zero that ends the literal
    for (const jpeg_marker_struct* marker = decoder.info.marker_list; marker != nullptr; marker = marker->next) {
        if (marker->data_length > sizeof(kMagic) && std::memcmp(marker->data, kMagic, sizeof(kMagic)) == 0) {
            return Bytes(marker->data + sizeof(kMagic), marker->data + marker->data_length);
        }
    }
    return {};
}

}  // namespace

Stored decode_jpeg(const Bytes& bytes) {
    Decoder decoder;
    decoder.info.err = jpeg_std_error(&decoder.errors);
    decoder.info.client_data = &decoder;
    decoder.errors.error_exit = on_error;
    decoder.errors.emit_message = on_message;
    const auto fail = [&decoder] { return Error("the JPEG is damaged (" + one_line(decoder.message) + ")"); };
    if (!read_header(decoder, bytes)) throw fail();
    check_picture_size(decoder.info.image_height, decoder.info.image_width);
    if (decoder.info.num_components != 1 && decoder.info.num_components != 3) {
        throw Error("the JPEG has " + std::to_string(decoder.info.num_components) + " channels; save it as RGB");
    }
    // An 8x8 block takes a bit, a fraction of one with arithmetic coding: a header that claims 64 times more blocks
    // than there are bits lies, and gets no memory.
    const std::uint64_t blocks = std::uint64_t{decoder.info.image_height} * decoder.info.image_width / 64;
    if (blocks / 64 > std::uint64_t{bytes.size()} * 8) throw Error("the JPEG is cut short");
    Stored stored{Picture({static_cast<int>(decoder.info.image_height), static_cast<int>(decoder.info.image_width)}, 3),
                  {}};
    stored.exif = find_exif(decoder);  // the library drops it with the last row
    if (!read_rows(decoder, stored.image_bgr)) throw fail();
    if (decoder.cut_short) throw Error("the JPEG is cut short");
    return stored;
}

}  // namespace segproof
