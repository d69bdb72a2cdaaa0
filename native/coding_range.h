// Range coder: 32-bit range, integers only; bits by 16-bit probabilities, one of sixteen symbols by 15-bit ones.
//
// Carries run back into the bytes already written (Martin 1979), so nothing is held back. The decoder reads three bytes
// past the end at most; a stream that asks for more is broken.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "coding_lanes.h"

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

  // Codes one of the sixteen symbols; lane s is the probability of those above s in 1 / 32768, falling, the last 0.
  int symbol(int s, Lanes lanes) {
    alignas(32) int16_t above[kSymbols];
    store_lanes(above, lanes);
    const uint32_t unit = range_ >> 15, low = static_cast<uint32_t>(above[s]);
    const uint32_t high = s ? static_cast<uint32_t>(above[s - 1]) : 32768;
    cost_ += bit_cost(2 * (high - low));
    // What the division of the range leaves over goes to symbol 0.
    const uint32_t end = s ? unit * high : range_;
    add(unit * low);
    range_ = end - unit * low;
    normalise();
    return s;
  }

  // `count` (up to 8) equally likely bits.
  uint32_t raw(uint32_t value, int count) {
    cost_ += static_cast<float>(count);
    range_ >>= count;
    add(static_cast<uint64_t>(value) * range_);
    normalise();
    return value;
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

  int symbol(int, Lanes above) {
    alignas(32) uint32_t ends[kSymbols];
    const int s = count_above(above, range_ >> 15, code_, ends);
    const uint32_t low = ends[s];
    range_ = (s ? ends[s - 1] : range_) - low;
    code_ -= low;
    normalise();
    return s;
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
