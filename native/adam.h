// One step of Adam (Kingma and Ba 2015, algorithm 1), in place.
//
//   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//
// A row that no pixel saw is left as it is, its moments too: the "visible only" rule of Taming 3DGS (Mallick et al. 2024).
// Every parameter is updated for itself, so the bits do not depend on how rows are grouped into vectors.
#pragma once

#include <cmath>
#include <vector>

#include "simd.h"

namespace scenerep {

struct AdamConstants {
  f16 b1, one_minus_b1, b2, one_minus_b2, root_correction, eps;
  double mean_correction;  // the rate is divided by it

  AdamConstants(double beta1, double beta2, double epsilon, int64_t step)
      : b1(static_cast<float>(beta1)),
        one_minus_b1(static_cast<float>(1 - beta1)),
        b2(static_cast<float>(beta2)),
        one_minus_b2(static_cast<float>(1 - beta2)),
        root_correction(static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, static_cast<double>(step))))),
        eps(static_cast<float>(epsilon)),
        mean_correction(1 - std::pow(beta1, static_cast<double>(step))) {}
};

// Sixteen parameters. Returns the new value; m and v are updated.
SR_INLINE f16 adam_update(const AdamConstants& k, f16 p, f16 g, f16& m, f16& v, f16 step) {
  m = fma(k.b1, m, k.one_minus_b1 * g);
  v = fma(k.b2, v, k.one_minus_b2 * (g * g));
  return fnma(step, m / fma(sqrt(v), k.root_correction, k.eps), p);
}

// Parameters, their gradients and the two moments.
struct AdamArrays {
  float* p;
  const float* g;
  float *m, *v;
};

SR_INLINE void adam_at(const AdamConstants& k, const AdamArrays& a, int64_t i, f16 step) {
  f16 m = load(a.m + i), v = load(a.v + i);
  store(a.p + i, adam_update(k, load(a.p + i), load(a.g + i), m, v, step));
  store(a.m + i, m);
  store(a.v + i, v);
}

// The same for fewer than sixteen.
SR_INLINE void adam_some(const AdamConstants& k, const AdamArrays& a, int64_t i, int64_t count, f16 step) {
  float p[kLanes] = {}, g[kLanes] = {}, m[kLanes] = {}, v[kLanes] = {};
  std::memcpy(p, a.p + i, count * sizeof(float));
  std::memcpy(g, a.g + i, count * sizeof(float));
  std::memcpy(m, a.m + i, count * sizeof(float));
  std::memcpy(v, a.v + i, count * sizeof(float));
  adam_at(k, {p, g, m, v}, 0, step);
  std::memcpy(a.p + i, p, count * sizeof(float));
  std::memcpy(a.m + i, m, count * sizeof(float));
  std::memcpy(a.v + i, v, count * sizeof(float));
}

// A run of floats, whose rate at i is step[i - begin], with sixteen readable floats after its end.
SR_INLINE void adam_run(const AdamConstants& k, const AdamArrays& a, int64_t begin, int64_t count, const float* step) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) adam_at(k, a, begin + i, load(step + i));
  if (i < count) adam_some(k, a, begin + i, count - i, load(step + i));
}

// Bit i is set where seen[i] is not zero, for eight bytes.
SR_INLINE uint64_t eight_bits(const uint8_t* seen) {
  uint64_t x;
  std::memcpy(&x, seen, sizeof x);
  x |= x >> 4;
  x |= x >> 2;
  x |= x >> 1;
  return (x & 0x0101010101010101u) * 0x0102040810204080u >> 56;  // gathers the lowest bit of every byte at the top
}

// Rows of a matrix [n, columns] with one rate per column, of which the first `active` columns are updated.
class AdamRows {
 public:
  // `run`: so many whole rows at most are taken as one long vector.
  AdamRows(const AdamConstants& k, int64_t columns, int64_t active, const float* column_rate, int64_t run)
      : k_(k), columns_(columns), active_(active), run_(active == columns ? run : 1) {
    steps_.assign(run_ * columns + kLanes, 0.0f);
    for (int64_t i = 0; i < run_ * columns; i++)
      steps_[i] = static_cast<float>(column_rate[i % columns] / k.mean_correction);
    for (int pattern = 0; columns <= 4 && pattern < 16; pattern++)
      for (int64_t i = 0; i < 4 * columns; i++) spread_[pattern] |= (pattern >> (i / columns) & 1) << i;
  }

  SR_INLINE void row(const AdamArrays& a, int64_t r) const { adam_run(k_, a, r * columns_, active_, steps_.data()); }

  // Rows [begin, end), those where seen[row] is 0 left out; seen may be null.
  void rows(const AdamArrays& a, int64_t begin, int64_t end, const uint8_t* seen) const {
    int64_t r = begin;
    if (seen != nullptr && columns_ <= 4 && run_ >= kLanes)
      for (; r + kLanes <= end; r += kLanes) sixteen_rows(a, r, seen + r);
    while (r < end) {
      if (seen != nullptr && !seen[r]) {
        r++;
        continue;
      }
      int64_t last = r + 1;
      while (last < end && last - r < run_ && (seen == nullptr || seen[last])) last++;
      adam_run(k_, a, r * columns_, (last - r - 1) * columns_ + active_, steps_.data());
      r = last;
    }
  }

 private:
  // Short rows: all sixteen are computed, and those not seen keep their bits.
  SR_INLINE void sixteen_rows(const AdamArrays& a, int64_t first, const uint8_t* seen) const {
    const uint64_t rows = eight_bits(seen) | eight_bits(seen + 8) << 8;
    if (rows == 0) return;
    uint64_t floats = 0;
    for (int q = 0; q < 4; q++) floats |= uint64_t{spread_[rows >> (4 * q) & 15]} << (4 * q * columns_);
    for (int64_t j = 0; j < columns_; j++) {
      const m16 mask = mask_from_bits(floats >> (kLanes * j) & 0xffff);
      const int64_t i = first * columns_ + j * kLanes;
      const f16 old_p = load(a.p + i), old_m = load(a.m + i), old_v = load(a.v + i);
      f16 m = old_m, v = old_v;
      const f16 p = adam_update(k_, old_p, load(a.g + i), m, v, load(steps_.data() + j * kLanes));
      store(a.p + i, select(mask, p, old_p));
      store(a.m + i, select(mask, m, old_m));
      store(a.v + i, select(mask, v, old_v));
    }
  }

  AdamConstants k_;
  int64_t columns_, active_, run_;
  std::vector<float> steps_;   // rates of `run_` rows, bias correction included
  uint16_t spread_[16] = {};  // for each pattern of four short rows, a bit for each of their floats
};

}  // namespace scenerep
