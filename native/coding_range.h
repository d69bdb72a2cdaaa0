// Binary range coder: 32-bit range, 16-bit probabilities, integers only.
//
// Carries run back into the bytes already written (Martin 1979), so nothing is held back. The decoder reads three bytes
// past the end at most; a stream that asks for more is broken.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace scenerep {

struct CodingError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Bits that coding an event of probability p / 65536 takes, p > 0, to 12 bits of p.
inline float bit_cost(uint32_t p) {
  static const std::array<float, 4097> table = [] {
    std::array<float, 4097> t{};
    for (int i = 0; i <= 4096; i++) t[i] = -std::log2((i + (i == 0 ? 0.5f : 0.0f)) / 4096.0f);
    return t;
  }();
  return table[(p + 8) >> 4];
}

class RangeEncoder {
 public:
  static constexpr bool kDecodes = false;

  // Codes `bit`, which is 1 with probability p / 65536, 0 < p < 65536.
  int code(int bit, uint32_t p) {
    cost_ += bit_cost(bit ? p : 65536 - p);
    const uint32_t bound = (range_ >> 16) * p;
    if (bit) {
      range_ = bound;
    } else {
      add(bound);
      range_ -= bound;
    }
    normalise();
    return bit;
  }

  // `count` (up to 8) equally likely bits.
  uint32_t raw(uint32_t value, int count) {
    cost_ += static_cast<float>(count);
    range_ >>= count;
    add(static_cast<uint64_t>(value) * range_);
    normalise();
    return value;
  }

  // One of the intervals of a distribution over 2^16: [low, low + width).
  void interval(uint32_t low, uint32_t width) {
    cost_ += bit_cost(width);
    range_ >>= 16;
    add(static_cast<uint64_t>(low) * range_);
    range_ *= width;
    normalise();
  }

  // Bits coded since the last call, by the models' probabilities.
  float take_cost() {
    const float cost = cost_;
    cost_ = 0;
    return cost;
  }

  std::vector<uint8_t> finish() {
    // The multiple of 2^24 in [low, low + range): one byte tells it, the decoder reads zeros after it.
    add(0xffffff);
    bytes_.push_back(static_cast<uint8_t>(low_ >> 24));
    return std::move(bytes_);
  }

 private:
  void add(uint64_t amount) {
    low_ += amount;
    if (low_ >> 32) {
      low_ &= 0xffffffffu;
      for (size_t i = bytes_.size(); i-- > 0 && ++bytes_[i] == 0;) {
      }
    }
  }
  void normalise() {
    while (range_ < 1u << 24) {
      bytes_.push_back(static_cast<uint8_t>(low_ >> 24));
      low_ = (low_ << 8) & 0xffffffffu;
      range_ <<= 8;
    }
  }

  uint64_t low_ = 0;
  uint32_t range_ = 0xffffffffu;
  float cost_ = 0;
  std::vector<uint8_t> bytes_;
};

class RangeDecoder {
 public:
  static constexpr bool kDecodes = true;

  RangeDecoder(const uint8_t* data, size_t size) : data_(data), size_(size) {
    for (int i = 0; i < 4; i++) code_ = code_ << 8 | next();
  }

  int code(int, uint32_t p) {
    const uint32_t bound = (range_ >> 16) * p;
    int bit;
    if (code_ < bound) {
      range_ = bound;
      bit = 1;
    } else {
      code_ -= bound;
      range_ -= bound;
      bit = 0;
    }
    normalise();
    return bit;
  }

  uint32_t raw(uint32_t, int count) {
    range_ >>= count;
    uint32_t value = code_ / range_;
    // A sound stream never reaches this limit; a broken one must not leave the interval.
    if (value >> count) value = (1u << count) - 1;
    code_ -= value * range_;
    normalise();
    return value;
  }

  // Where in 0 .. 65535 the coded interval lies; to be followed by `interval` with the one found there.
  uint32_t target() {
    range_ >>= 16;
    const uint32_t value = code_ / range_;
    return value > 65535 ? 65535 : value;
  }
  void interval(uint32_t low, uint32_t width) {
    code_ -= low * range_;
    range_ *= width;
    normalise();
  }

  float take_cost() { return 0; }

 private:
  uint32_t next() {
    const size_t at = position_++;
    if (at < size_) return data_[at];
    if (at >= size_ + 3) throw CodingError("the stream ends too early");
    return 0;
  }
  void normalise() {
    while (range_ < 1u << 24) {
      code_ = code_ << 8 | next();
      range_ <<= 8;
    }
  }

  const uint8_t* data_;
  size_t size_, position_ = 0;
  uint32_t code_ = 0, range_ = 0xffffffffu;
};

}  // namespace scenerep
