#include "files.hpp"

#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "segproof/error.hpp"

namespace segproof {
namespace {

struct Close {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
};
using Stream = std::unique_ptr<std::FILE, Close>;

}  // namespace

Bytes read_file(const std::string& path, std::size_t limit) {
    struct stat about = {};
    if (stat(path.c_str(), &about) != 0) {
        throw Error(path + ": " + (errno == ENOENT ? "no such file" : std::strerror(errno)));
    }
    if (!S_ISREG(about.st_mode)) throw Error(path + ": is not a file");
    const Stream stream(std::fopen(path.c_str(), "rb"));
    if (stream == nullptr) throw Error(path + ": cannot be read (" + std::strerror(errno) + ")");
    const auto size = static_cast<std::size_t>(about.st_size);
    if (size > limit)
        throw Error(path + ": " + std::to_string(size) + " bytes are more than the " + std::to_string(limit) +
                    " that are read");
    Bytes bytes(size);
    if (std::fread(bytes.data(), 1, size, stream.get()) != size) throw Error(path + ": changed while it was read");
    return bytes;
}

void write_file(const std::string& path, const Bytes& bytes) {
    const std::string draft = path + ".part" + std::to_string(getpid());
    const auto fail = [&](const char* reason) {
        const Error error(path + ": cannot be written (" + reason + "); choose another directory");
        std::remove(draft.c_str());
        throw Error(error);
    };
    Stream stream(std::fopen(draft.c_str(), "wb"));
    if (stream == nullptr) fail(std::strerror(errno));
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), stream.get()) == bytes.size();
    if (std::fclose(stream.release()) != 0 || !written) fail(std::strerror(errno));
    if (std::rename(draft.c_str(), path.c_str()) != 0) fail(std::strerror(errno));
}

bool exists(const std::string& path) {
    return access(path.c_str(), F_OK) == 0;
}

std::string sha256(const Bytes& bytes) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(bytes.data(), bytes.size(), digest);
    std::string text;
    for (const unsigned char byte : digest) {
        text += "0123456789abcdef"[byte >> 4U];
        text += "0123456789abcdef"[byte & 15U];
    }
    return text;
}

}  // namespace segproof
