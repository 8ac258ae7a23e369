// The command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "segproof/picture.hpp"

namespace segproof {

struct Options {
    std::string model;
    std::string image;
    std::string overlay;
    std::string mask;  // empty: not written
    std::string runtime;
    std::optional<Rect> roi;
    int threads = 0;
    double opacity = 0.55;
    bool help = false;
};

// A command line that cannot be: the program ends with code 2.
struct UsageError {
    std::string message;
};

// Throws UsageError.
Options parse_options(const std::vector<std::string>& arguments);

extern const char* const kHelp;

}  // namespace segproof
