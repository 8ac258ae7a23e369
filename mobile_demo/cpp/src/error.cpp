#include "segproof/error.hpp"

namespace segproof {

std::string one_line(std::string_view text, std::size_t limit) {
    std::string line;
    for (const char letter : text.substr(0, limit)) {
        const auto code = static_cast<unsigned char>(letter);
        line += code < 0x20 || code == 0x7f ? ' ' : letter;
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line;
}

}  // namespace segproof
