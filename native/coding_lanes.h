// Sixteen signed 16-bit lanes: what the distributions of coding_integer.h are computed in. AVX2 where the build has it;
// loops otherwise, which give the same numbers.
#pragma once

#include <cstdint>

#include "simd.h"

namespace scenerep {

constexpr int kSymbols = 16;

#if SCENEREP_SIMD_AVX2 || SCENEREP_SIMD_AVX512

struct Lanes {
  __m256i v;
};
SR_INLINE Lanes load_lanes(const int16_t* p) { return {_mm256_load_si256(reinterpret_cast<const __m256i*>(p))}; }
SR_INLINE void store_lanes(int16_t* p, Lanes a) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), a.v); }
SR_INLINE Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_epi16(a.v, b.v)}; }
SR_INLINE Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_epi16(a.v, b.v)}; }
// (a * b + 2^14) >> 15.
SR_INLINE Lanes scaled(Lanes a, int16_t b) { return {_mm256_mulhrs_epi16(a.v, _mm256_set1_epi16(b))}; }
template <int kShift>
SR_INLINE Lanes shifted_down(Lanes a) {
  return {_mm256_srai_epi16(a.v, kShift)};
}

// ends[i] = unit * a[i], a[i] >= 0; how many of them are above `code`.
SR_INLINE int count_above(Lanes a, uint32_t unit, uint32_t code, uint32_t* ends) {
  const __m256i units = _mm256_set1_epi32(static_cast<int>(unit));
  const __m256i low = _mm256_mullo_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a.v)), units);
  const __m256i high = _mm256_mullo_epi32(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(a.v, 1)), units);
  _mm256_store_si256(reinterpret_cast<__m256i*>(ends), low);
  _mm256_store_si256(reinterpret_cast<__m256i*>(ends + 8), high);
  // Products and code are below 2^32: compared as signed numbers after a shift of both.
  const __m256i flip = _mm256_set1_epi32(INT32_MIN);
  const __m256i limit = _mm256_xor_si256(_mm256_set1_epi32(static_cast<int>(code)), flip);
  const __m256i above = _mm256_packs_epi32(_mm256_cmpgt_epi32(_mm256_xor_si256(low, flip), limit),
                                           _mm256_cmpgt_epi32(_mm256_xor_si256(high, flip), limit));
  return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_epi8(above))) >> 1;
}

#else

struct Lanes {
  int16_t v[kSymbols];
};
SR_INLINE Lanes load_lanes(const int16_t* p) {
  Lanes a;
  std::memcpy(a.v, p, sizeof a.v);
  return a;
}
SR_INLINE void store_lanes(int16_t* p, Lanes a) { std::memcpy(p, a.v, sizeof a.v); }
SR_INLINE Lanes operator+(Lanes a, Lanes b) {
  for (int i = 0; i < kSymbols; i++) a.v[i] = static_cast<int16_t>(a.v[i] + b.v[i]);
  return a;
}
SR_INLINE Lanes operator-(Lanes a, Lanes b) {
  for (int i = 0; i < kSymbols; i++) a.v[i] = static_cast<int16_t>(a.v[i] - b.v[i]);
  return a;
}
SR_INLINE Lanes scaled(Lanes a, int16_t b) {
  for (int i = 0; i < kSymbols; i++) a.v[i] = static_cast<int16_t>((a.v[i] * b + (1 << 14)) >> 15);
  return a;
}
template <int kShift>
SR_INLINE Lanes shifted_down(Lanes a) {
  for (int i = 0; i < kSymbols; i++) a.v[i] = static_cast<int16_t>(a.v[i] >> kShift);
  return a;
}
SR_INLINE int count_above(Lanes a, uint32_t unit, uint32_t code, uint32_t* ends) {
  int count = 0;
  for (int i = 0; i < kSymbols; i++) {
    ends[i] = unit * static_cast<uint32_t>(a.v[i]);
    count += ends[i] > code;
  }
  return count;
}

#endif

}  // namespace scenerep
