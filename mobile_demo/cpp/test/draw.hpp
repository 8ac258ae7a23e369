// The generator and the hash of mobile_demo/vectors/README.md.
#pragma once

#include <cstdint>
#include <vector>

namespace segproof {

class Xorshift {
  public:
    explicit Xorshift(std::uint32_t seed) : state_(seed) {}

    std::uint32_t next() {
        state_ ^= state_ << 13U;
        state_ ^= state_ >> 17U;
        state_ ^= state_ << 5U;
        return state_;
    }

    std::uint8_t byte() { return static_cast<std::uint8_t>(next() >> 24U); }
    std::size_t below(std::size_t count) { return next() % count; }

  private:
    std::uint32_t state_;
};

inline std::vector<std::uint8_t> draw_bytes(std::uint32_t seed, std::size_t count) {
    Xorshift generator(seed);
    std::vector<std::uint8_t> bytes(count);
    for (std::uint8_t& byte : bytes) byte = generator.byte();
    return bytes;
}

inline std::uint64_t hash_bytes(const void* data, std::size_t count) {
    std::uint64_t value = 0xcbf29ce484222325U;
    for (std::size_t i = 0; i < count; ++i) {
        value = (value ^ static_cast<const std::uint8_t*>(data)[i]) * 0x100000001b3U;
    }
    return value;
}

}  // namespace segproof
