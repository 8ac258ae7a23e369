// The one exception of this library.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace segproof {

// What a user can cause or meet: one line that says what, where, and what was wanted.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Returns `text` on one line of at most `limit` bytes: what a file or a library says is not trusted to be short.
std::string one_line(std::string_view text, std::size_t limit = 160);

}  // namespace segproof
