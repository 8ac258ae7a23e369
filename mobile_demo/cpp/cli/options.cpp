#include "options.hpp"

#include <charconv>
#include <cstdlib>

namespace segproof {
namespace {

template <typename Number>
bool to_number(const std::string& text, Number& number) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    return error == std::errc() && stop == end && !text.empty();
}

Rect parse_region(const std::string& text) {
    std::vector<int> numbers;
    std::size_t at = 0;
    while (at <= text.size()) {
        const std::size_t comma = std::min(text.find(',', at), text.size());
        int number = 0;
        if (!to_number(text.substr(at, comma - at), number) || number < 0) break;
        numbers.push_back(number);
        at = comma + 1;
    }
    const bool whole_text = at == text.size() + 1;
    if (whole_text && numbers.size() == 3) return {numbers[0], numbers[1], numbers[2], numbers[2]};
    if (whole_text && numbers.size() == 4) return {numbers[0], numbers[1], numbers[2], numbers[3]};
    throw UsageError{"--roi: expected TOP,LEFT,SIDE or TOP,LEFT,HEIGHT,WIDTH, found '" + text + "'"};
}

void set_option(Options& options, const std::string& name, const std::string& value) {
    if (name == "--mask") {
        options.mask = value;
    } else if (name == "--ort") {
        options.runtime = value;
    } else if (name == "--roi") {
        options.roi = parse_region(value);
    } else if (name == "--threads") {
        if (!to_number(value, options.threads) || options.threads < 1 || options.threads > 256) {
            throw UsageError{"--threads: expected 1 to 256, found '" + value + "'"};
        }
    } else if (name == "--opacity") {
        if (!to_number(value, options.opacity) || !(options.opacity >= 0 && options.opacity <= 1)) {
            throw UsageError{"--opacity: expected 0 to 1, found '" + value + "'"};
        }
    } else {
        throw UsageError{name + ": no such option"};
    }
}

}  // namespace

const char* const kHelp = R"(Usage: segproof-cpp [OPTIONS] MODEL.onnx IMAGE OVERLAY.png

  Label IMAGE (PNG, JPEG or binary PPM) with MODEL, an artifact of seg-export, and write the picture with its classes
  in colour.

Options:
  --mask FILE.png    Write the class indices, too.
  --roi REGION       What the network gets to see, TOP,LEFT,SIDE or TOP,LEFT,HEIGHT,WIDTH. [default: all]
  --opacity NUMBER   Of the class colours, 0 to 1. [default: 0.55]
  --threads NUMBER   Threads of the runtime. [default: the runtime's choice]
  --ort LIBRARY      ONNX Runtime's shared library. [default: $SEGPROOF_ORT, or where the system finds it]
  --help             Show this.

Examples:
  segproof-cpp face.onnx portrait.png overlay.png --mask mask.png
  segproof-cpp face.onnx portrait.jpg overlay.png --roi 60,50,1214
)";

Options parse_options(const std::vector<std::string>& arguments) {
    Options options;
    const char* const runtime = std::getenv("SEGPROOF_ORT");
    if (runtime != nullptr) options.runtime = runtime;
    std::vector<std::string> files;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument == "--help") {
            options.help = true;
            return options;
        }
        if (argument.rfind("--", 0) != 0) {
            files.push_back(argument);
            continue;
        }
        const std::size_t equals = argument.find('=');
        if (equals != std::string::npos) {
            set_option(options, argument.substr(0, equals), argument.substr(equals + 1));
        } else if (i + 1 < arguments.size()) {
            set_option(options, argument, arguments[++i]);
        } else {
            throw UsageError{argument + ": needs a value"};
        }
    }
    if (files.size() != 3) {
        throw UsageError{"expected MODEL.onnx IMAGE OVERLAY.png, found " + std::to_string(files.size()) + " files"};
    }
    options.model = files[0];
    options.image = files[1];
    options.overlay = files[2];
    return options;
}

}  // namespace segproof
