// Bytes of files: read whole, written whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace segproof {

using Bytes = std::vector<std::uint8_t>;

// Reads a file of at most `limit` bytes; throws Error naming it.
Bytes read_file(const std::string& path, std::size_t limit);

// Writes beside `path` and renames into place: the file appears whole or not at all. Throws Error naming it.
void write_file(const std::string& path, const Bytes& bytes);

bool exists(const std::string& path);

// SHA-256 as 64 hexadecimal digits.
std::string sha256(const Bytes& bytes);

}  // namespace segproof
