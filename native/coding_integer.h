// Signed integers by adaptive distributions over sixteen symbols, integers only.
//
// A symbol tells zero, or sign and size class; what is left of the size follows as bits. Each context holds a
// distribution that adapts fast at first and slower with every symbol it has seen. The distributions of several contexts
// are mixed by weights that learn online: w += rate * w * (p_j(symbol) / p(symbol) - 1), the gradient of the mixture's
// log likelihood on the simplex (exponentiated gradient, first order).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "coding_model.h"

namespace scenerep {

// above[i]: probability of the symbols above i, in 1 / 32768, so that above[15] = 0.
struct alignas(32) Distribution {
  int16_t above[kSymbols];
  int32_t n = 0;  // symbols seen, up to the limit
  Distribution() {
    for (int i = 0; i < kSymbols; i++) above[i] = static_cast<int16_t>(32768 - 2048 * (i + 1));
  }
  // Of symbol s.
  int probability(int s) const { return (s ? above[s - 1] : 32768) - above[s]; }
};

constexpr int kSlowestSymbol = 64;
// 2^15 / (n + 1.6).
constexpr std::array<int16_t, kSlowestSymbol + 1> make_symbol_rates() {
  std::array<int16_t, kSlowestSymbol + 1> t{};
  for (int n = 0; n <= kSlowestSymbol; n++) t[static_cast<size_t>(n)] = static_cast<int16_t>(163840 / (5 * n + 8));
  return t;
}
inline constexpr std::array<int16_t, kSlowestSymbol + 1> kSymbolRates = make_symbol_rates();

// By symbol s: 1 - 2^-15 below s, 0 from there on. Adapting towards a row keeps `above` from rising.
struct alignas(32) SymbolTargets {
  int16_t rows[kSymbols][kSymbols];
};
constexpr SymbolTargets make_symbol_targets() {
  SymbolTargets t{};
  for (int s = 0; s < kSymbols; s++)
    for (int i = 0; i < kSymbols; i++) t.rows[s][i] = i < s ? 32767 : 0;
  return t;
}
inline constexpr SymbolTargets kSymbolTargets = make_symbol_targets();

inline void adapt(Distribution& d, int s) {
  const Lanes above = load_lanes(d.above);
  store_lanes(d.above, above + scaled(load_lanes(kSymbolTargets.rows[s]) - above, kSymbolRates[static_cast<size_t>(d.n)]));
  d.n += d.n < kSlowestSymbol;
}

// Added to a mixture scaled by 1 - 2^-9: no symbol falls below 4 / 32768.
struct alignas(32) SymbolFloor {
  int16_t row[kSymbols];
};
constexpr SymbolFloor make_symbol_floor() {
  SymbolFloor t{};
  for (int i = 0; i < kSymbols; i++) t.row[i] = static_cast<int16_t>(4 * (kSymbols - 1 - i));
  return t;
}
inline constexpr SymbolFloor kSymbolFloor = make_symbol_floor();

// A signed integer of up to 24 bits by J contexts.
//
// Symbols: 0; then for each size class its positive and its negative numbers, the classes being 1, 2, 3, 4-7, 8-15,
// 16-31, 32-63; 15 for anything larger, whose sign and exponent follow. The first two bits below the leading one have
// probabilities by exponent, the others are equally likely.
template <int J>
class IntegerModel {
 public:
  explicit IntegerModel(const std::array<int, J>& contexts) {
    for (int j = 0; j < J; j++) known_[j].resize(static_cast<size_t>(contexts[j]));
    weights_.fill(32767 / J);
  }

  template <class Coder>
  int code(Coder& coder, const std::array<int, J>& context, int value) {
    const int magnitude = value < 0 ? -value : value;
    int exponent = Coder::kDecodes || magnitude == 0 ? 0 : 31 - __builtin_clz(static_cast<unsigned>(magnitude));
    int symbol = 0;
    if (!Coder::kDecodes && magnitude) {
      const int size = magnitude < 4 ? magnitude - 1 : exponent + 1;
      symbol = size > 6 ? kSymbols - 1 : 1 + 2 * size + (value < 0);
    }
    symbol = code_symbol(coder, context, symbol);
    if (symbol == 0) return 0;
    int negative = ~symbol & 1;
    if (symbol == kSymbols - 1) {
      negative = static_cast<int>(coder.raw(value < 0, 1));
      int e = kFirstLarge;
      while (code_bit(coder, larger_[static_cast<size_t>(e - kFirstLarge)], exponent > e))
        if (++e > 24) throw CodingError("an integer has more than 24 bits");
      exponent = e;
    } else {
      const int size = (symbol - 1) >> 1;
      if (size < 3) return negative ? -size - 1 : size + 1;
      exponent = size - 1;
    }
    Slot* slots = &below_[static_cast<size_t>(3 * exponent)];
    int m = 2 | code_bit(coder, slots[0], magnitude >> (exponent - 1) & 1);
    m = m << 1 | code_bit(coder, slots[m - 1], magnitude >> (exponent - 2) & 1);
    for (int left = exponent - 2; left > 0;) {
      const int take = std::min(left, 8);
      left -= take;
      m = m << take | static_cast<int>(coder.raw(static_cast<uint32_t>(magnitude >> left) & ((1u << take) - 1), take));
    }
    return negative ? -m : m;
  }

 private:
  static constexpr int kFirstLarge = 6;  // the exponent at which symbol 15 begins
  static constexpr int kLeast = 512;     // of a weight

  template <class Coder>
  static int code_bit(Coder& coder, Slot& slot, int bit) {
    bit = coder.code(bit, static_cast<uint32_t>(std::clamp<int>(slot.p, 32, 65504)));
    adapt(slot, bit);
    return bit;
  }

  template <class Coder>
  int code_symbol(Coder& coder, const std::array<int, J>& context, int symbol) {
    Distribution* at[J];
    for (int j = 0; j < J; j++) at[j] = &known_[j][static_cast<size_t>(context[j])];
    Lanes mixed = load_lanes(at[0]->above);
    if (J > 1) mixed = scaled(mixed, weights_[0]);
    for (int j = 1; j < J; j++) mixed = mixed + scaled(load_lanes(at[j]->above), weights_[j]);
    mixed = mixed - shifted_down<9>(mixed) + load_lanes(kSymbolFloor.row);
    symbol = coder.symbol(symbol, mixed);
    if (J > 1) {
      alignas(32) int16_t above[kSymbols];
      store_lanes(above, mixed);
      const int p = (symbol ? above[symbol - 1] : 32768) - above[symbol];
      int left = 32767;
      for (int j = 0; j < J - 1; j++) {
        const int ratio = std::min((at[j]->probability(symbol) << 12) / p, 1 << 15);
        const int w = weights_[j] + ((weights_[j] * (ratio - 4096) + (1 << 17)) >> 18);
        weights_[j] = static_cast<int16_t>(std::clamp(w, kLeast, left - kLeast * (J - 1 - j)));
        left -= weights_[j];
      }
      weights_[J - 1] = static_cast<int16_t>(left);
    }
    for (int j = 0; j < J; j++) adapt(*at[j], symbol);
    return symbol;
  }

  std::array<std::vector<Distribution>, J> known_;
  std::array<int16_t, J> weights_;  // their sum is 32767
  std::array<Slot, 19> larger_;     // whether the exponent is above 6, 7 ...
  std::array<Slot, 3 * 25> below_;  // by exponent: the first bit below the leading one; the second after 0, after 1
};

}  // namespace scenerep
