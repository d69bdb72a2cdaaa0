// Adaptive bit models mixed in the logistic domain, integers only.
//
// Each context holds a probability that adapts fast at first and slower with every bit it has seen. The predictions of
// several contexts are mixed by weights that learn online (Mahoney 2005, "Adaptive weighing of context models for
// lossless data compression": p = squash(sum of w_i stretch(p_i)), stretch = ln(p / (1 - p)), and its gradient step).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "coding_range.h"

namespace scenerep {

// 65536 / (1 + exp(-x / 256)) for x in -2047 .. 2047, by lines between 33 points.
inline constexpr int kSquash[33] = {22,    36,    60,    98,    162,   267,   439,   720,   1179,  1921,  3108,
                                      4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
                                      62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514};
constexpr int squash(int x) {
  const int i = (x + 2048) >> 7, f = x & 127;
  return (kSquash[i] * (128 - f) + kSquash[i + 1] * f + 64) >> 7;
}

// Its inverse by 12-bit probabilities: the smallest x whose squash(x) >> 4 is not below p.
constexpr std::array<int16_t, 4096> make_stretch() {
  std::array<int16_t, 4096> t{};
  int next = 0;
  for (int x = -2047; x <= 2047; x++)
    for (const int p = squash(x) >> 4; next <= p; next++) t[static_cast<size_t>(next)] = static_cast<int16_t>(x);
  for (; next < 4096; next++) t[static_cast<size_t>(next)] = 2047;
  return t;
}
inline constexpr std::array<int16_t, 4096> kStretch = make_stretch();

struct Slot {
  uint16_t p = 32768;  // probability of 1
  uint16_t n = 0;      // bits seen, up to the limit
};

constexpr int kSlowest = 127;  // a context never adapts slower than 1 / (kSlowest + 2)
constexpr int kWeightLimit = 1 << 19;

// 2^15 / (n + 2): the Krichevsky-Trofimov estimate at first.
constexpr std::array<int16_t, kSlowest + 1> make_rates() {
  std::array<int16_t, kSlowest + 1> t{};
  for (int n = 0; n <= kSlowest; n++) t[static_cast<size_t>(n)] = static_cast<int16_t>(32768 / (n + 2));
  return t;
}
inline constexpr std::array<int16_t, kSlowest + 1> kRates = make_rates();

inline void adapt(Slot& slot, int bit) {
  const int p = slot.p;
  slot.p = static_cast<uint16_t>(p + (((bit ? 65535 : 0) - p) * kRates[slot.n] >> 15));
  if (slot.n < kSlowest) slot.n++;
}

// The weights of one mixing set.
template <int J>
struct Weights {
  std::array<int32_t, J> w;
  int32_t n = 0;
  Weights() { w.fill(65536 / J); }
};

// The probability of a 1, of 65536, that J contexts give together; `st` receives what each of them says.
template <int J>
int mixed_probability(const std::array<Slot*, J>& slots, const Weights<J>& weights, int (&st)[J]) {
  int64_t dot = 0;
  for (int j = 0; j < J; j++) {
    st[j] = kStretch[slots[j]->p >> 4];
    dot += static_cast<int64_t>(weights.w[j]) * st[j];
  }
  dot >>= 16;
  const int x = dot > 2047 ? 2047 : dot < -2047 ? -2047 : static_cast<int>(dot);
  const int p = squash(x);
  return p < 32 ? 32 : p > 65504 ? 65504 : p;
}

// Codes one bit by J contexts.
template <int J, class Coder>
int code_mixed(Coder& coder, const std::array<Slot*, J>& slots, Weights<J>& weights, int bit) {
  int st[J];
  const int p = mixed_probability<J>(slots, weights, st);
  bit = coder.code(bit, static_cast<uint32_t>(p));
  const int error = (bit << 16) - p;
  const int shift = weights.n < 64 ? 14 : 15;
  for (int j = 0; j < J; j++) {
    const int w = weights.w[j] + ((st[j] * error + (1 << (shift - 1))) >> shift);
    weights.w[j] = w > kWeightLimit ? kWeightLimit : w < -kWeightLimit ? -kWeightLimit : w;
    adapt(*slots[j], bit);
  }
  if (weights.n < 64) weights.n++;
  return bit;
}

// A single bit by J contexts.
template <int J>
class BitModel {
 public:
  BitModel(const std::array<int, J>& contexts, int sets) : weights_(static_cast<size_t>(sets)) {
    for (int j = 0; j < J; j++) slots_[j].resize(static_cast<size_t>(contexts[j]));
  }

  // `set` chooses the weights.
  template <class Coder>
  int code(Coder& coder, const std::array<int, J>& context, int set, int bit) {
    std::array<Slot*, J> at;
    for (int j = 0; j < J; j++) at[j] = &slots_[j][static_cast<size_t>(context[j])];
    return code_mixed<J>(coder, at, weights_[static_cast<size_t>(set)], bit);
  }

 private:
  std::array<std::vector<Slot>, J> slots_;
  std::vector<Weights<J>> weights_;
};

}  // namespace scenerep
