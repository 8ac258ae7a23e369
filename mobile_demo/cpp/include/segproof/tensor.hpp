// What goes into a network and comes out.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

namespace segproof {

// Values in C order. Half precision is widened to float on its way here.
struct Tensor {
    std::vector<std::int64_t> shape;
    std::variant<std::vector<float>, std::vector<std::uint8_t>, std::vector<std::int32_t>, std::vector<std::int64_t>>
        values;
};

// A network that was opened, whatever runs it.
class Network {
  public:
    virtual ~Network() = default;

    // Returns the output that postprocessing reads; throws Error when the network fails.
    virtual Tensor run(const Tensor& input) = 0;
};

}  // namespace segproof
