// One register of floats, as wide as the instruction set has it: 16, 8 or 4 lanes.
//
// For loops that keep many sums: with sixteen lanes in several registers the narrow instruction sets run out of them.
#pragma once

#include "simd.h"

namespace scenerep {

#if SCENEREP_SIMD_AVX512

constexpr int kUnitLanes = 16;
using fu = f16;
using mu = m16;
SR_INLINE fu loadu(const float* p) { return load(p); }
SR_INLINE mu sign(fu a) { return {_mm512_movepi32_mask(_mm512_castps_si512(a.v))}; }  // where negative
SR_INLINE fu negative(fu a) { return _mm512_or_ps(a.v, _mm512_set1_ps(-0.0f)); }     // -|a|
SR_INLINE fu reciprocal(fu a) { return approximate_reciprocal(a); }

#else

constexpr int kUnitLanes = kWidth;
struct mu {
  vi v;
};
struct fu {
  vf v;
  fu() = default;
  SR_INLINE fu(vf x) : v(x) {}
  SR_INLINE fu(float x) : v(x - vf{}) {}
};
SR_INLINE fu loadu(const float* p) {
  fu r;
  std::memcpy(&r.v, p, sizeof r.v);
  return r;
}
SR_INLINE void store(float* p, fu a) { std::memcpy(p, &a.v, sizeof a.v); }
SR_INLINE fu operator+(fu a, fu b) { return a.v + b.v; }
SR_INLINE fu operator-(fu a, fu b) { return a.v - b.v; }
SR_INLINE fu operator*(fu a, fu b) { return a.v * b.v; }
SR_INLINE mu operator<(fu a, fu b) { return {(vi)(a.v < b.v)}; }
SR_INLINE mu operator>(fu a, fu b) { return {(vi)(a.v > b.v)}; }
SR_INLINE mu operator>=(fu a, fu b) { return {(vi)(a.v >= b.v)}; }
SR_INLINE mu operator&(mu a, mu b) { return {a.v & b.v}; }
SR_INLINE mu andnot(mu a, mu b) { return {a.v & ~b.v}; }  // a and not b
SR_INLINE fu zero_unless(mu m, fu a) { return (vf)(m.v & (vi)a.v); }
SR_INLINE fu abs(fu a) { return (vf)((vi)a.v & 0x7fffffff); }
SR_INLINE mu sign(fu a) { return {(vi)a.v >> 31}; }  // where negative
SR_INLINE fu negative(fu a) { return (vf)((vi)a.v | (vi)(-0.0f - vf{})); }  // -|a|
#if SCENEREP_SIMD_AVX2
SR_INLINE fu fma(fu a, fu b, fu c) { return (vf)_mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v); }     // a * b + c
SR_INLINE fu fnma(fu a, fu b, fu c) { return (vf)_mm256_fnmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v); }   // c - a * b
SR_INLINE fu min(fu a, fu b) { return (vf)_mm256_min_ps((__m256)a.v, (__m256)b.v); }
SR_INLINE fu select(mu m, fu a, fu b) { return (vf)_mm256_blendv_ps((__m256)b.v, (__m256)a.v, (__m256)m.v); }
SR_INLINE fu round_to_nearest(fu a) { return (vf)_mm256_round_ps((__m256)a.v, 0x08); }
SR_INLINE uint32_t bits(mu a) { return static_cast<uint32_t>(_mm256_movemask_ps((__m256)a.v)); }
SR_INLINE fu reciprocal(fu a) {  // relative error below 2^-22: 12 bits and one Newton step
  const __m256 x = (__m256)a.v, r = _mm256_rcp_ps(x);
  return (vf)_mm256_fmadd_ps(r, _mm256_fnmadd_ps(x, r, _mm256_set1_ps(1.0f)), r);
}
#else
#if SCENEREP_SIMD_NEON
SR_INLINE fu fma(fu a, fu b, fu c) { return (vf)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v); }
SR_INLINE fu fnma(fu a, fu b, fu c) { return (vf)vfmsq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v); }
#else
SR_INLINE fu fma(fu a, fu b, fu c) { return a.v * b.v + c.v; }
SR_INLINE fu fnma(fu a, fu b, fu c) { return c.v - a.v * b.v; }
#endif
SR_INLINE fu select(mu m, fu a, fu b) { return (vf)((m.v & (vi)a.v) | (~m.v & (vi)b.v)); }
SR_INLINE fu min(fu a, fu b) { return select(a < b, a, b); }
SR_INLINE fu round_to_nearest(fu a) {  // exact for |a| < 2^22, as in simd.h
  const vf magic = 12582912.0f - vf{};
  return (a.v + magic) - magic;
}
#if SCENEREP_SIMD_SSE2
SR_INLINE uint32_t bits(mu a) { return static_cast<uint32_t>(_mm_movemask_ps((__m128)a.v)); }
#else
SR_INLINE uint32_t bits(mu a) {
  const vi w = a.v & vi{1, 2, 4, 8};
  return static_cast<uint32_t>(w[0] | w[1] | w[2] | w[3]);
}
#endif
SR_INLINE fu reciprocal(fu a) { return 1.0f / a.v; }
#endif
SR_INLINE bool any(mu a) { return bits(a) != 0; }
SR_INLINE fu exp2(fu x) {  // as in simd.h
  const fu n = round_to_nearest(x);
  const fu f = x - n;
  fu p = 1.3333558146e-3f;
  p = fma(p, f, fu(9.6181291076e-3f));
  p = fma(p, f, fu(5.5504108664e-2f));
  p = fma(p, f, fu(2.4022650696e-1f));
  p = fma(p, f, fu(6.9314718056e-1f));
  p = fma(p, f, fu(1.0f));
  return (vf)((vi)p.v + (__builtin_convertvector(n.v, vi) << 23));
}

#endif

// Element i of the result is the sum over the lanes of v[i]: Count sums, a multiple of 4 up to 12, and zeros after them.
#if SCENEREP_SIMD_AVX512
template <int Count>
SR_INLINE void sums_of(const fu* v, float* out) {
  __m512 quads[4];
  for (int i = 0; i < 4; i++) quads[i] = _mm512_setzero_ps();
  for (int i = 0; i < Count / 4; i++) {
    const f16* w = v + 4 * i;
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(w[0].v, w[1].v), _mm512_unpackhi_ps(w[0].v, w[1].v));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(w[2].v, w[3].v), _mm512_unpackhi_ps(w[2].v, w[3].v));
    quads[i] = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  }
  const __m512 lo = _mm512_add_ps(_mm512_shuffle_f32x4(quads[0], quads[1], 0x88),
                                  _mm512_shuffle_f32x4(quads[0], quads[1], 0xdd));
  const __m512 hi = _mm512_add_ps(_mm512_shuffle_f32x4(quads[2], quads[3], 0x88),
                                  _mm512_shuffle_f32x4(quads[2], quads[3], 0xdd));
  store(out, f16(_mm512_add_ps(_mm512_shuffle_f32x4(lo, hi, 0x88), _mm512_shuffle_f32x4(lo, hi, 0xdd))));
}
#else
typedef float quad __attribute__((vector_size(16)));
SR_INLINE quad fold(fu a) {
#if SCENEREP_SIMD_AVX2
  return (quad)_mm_add_ps(_mm256_castps256_ps128((__m256)a.v), _mm256_extractf128_ps((__m256)a.v, 1));
#else
  return a.v;
#endif
}
template <int Count>
SR_INLINE void sums_of(const fu* v, float* out) {
  for (int i = 0; i < 4; i++) {
    quad s = {};
    if (i < Count / 4) {
      const quad a = fold(v[4 * i]), b = fold(v[4 * i + 1]), c = fold(v[4 * i + 2]), d = fold(v[4 * i + 3]);
      const quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
      s = __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    }
    std::memcpy(out + 4 * i, &s, 16);
  }
}
#endif

}  // namespace scenerep
