// The cosine transform (DCT-II) of blocks of 4 to 32, orthonormal: inverse in integers, forward in floats.
#include <algorithm>
#include <cmath>

#include "image_dct.h"

namespace scenerep::dct {

namespace {

constexpr int kBits = 12;

// basis[k * n + i] = round(2^12 c_k cos(pi (2 i + 1) k / 2 n)). No product comes near a half, so every libm rounds alike.
struct Basis {
  std::vector<int32_t> fixed;
  std::vector<float> exact, transposed;
  explicit Basis(int n) : fixed(static_cast<size_t>(n * n)), exact(fixed.size()), transposed(fixed.size()) {
    for (int k = 0; k < n; k++)
      for (int i = 0; i < n; i++) {
        const double value =
            std::sqrt((k ? 2.0 : 1.0) / n) * std::cos(3.14159265358979323846 * (2 * i + 1) * k / (2 * n));
        fixed[static_cast<size_t>(k * n + i)] = static_cast<int32_t>(std::lround(value * (1 << kBits)));
        exact[static_cast<size_t>(k * n + i)] = static_cast<float>(value);
        transposed[static_cast<size_t>(i * n + k)] = static_cast<float>(value);
      }
  }
};

const Basis& basis(int n) {
  static const Basis all[4] = {Basis(4), Basis(8), Basis(16), Basis(32)};
  return all[size_index(n)];
}

template <class Sum, int N>
void inverse(const int32_t* in, int rows, int32_t limit, int32_t* out) {
  const int32_t* b = basis(N).fixed.data();
  constexpr Sum kHalf = Sum{1} << (kBits - 1);
  int32_t columns[N * N];
  for (int y = 0; y < N; y++) {
    Sum sum[N] = {};
    for (int k = 0; k < rows; k++)
      for (int u = 0; u < N; u++) sum[u] += static_cast<Sum>(b[k * N + y]) * in[k * N + u];
    for (int u = 0; u < N; u++)
      columns[y * N + u] = static_cast<int32_t>(std::clamp<Sum>((sum[u] + kHalf) >> kBits, -limit, limit));
  }
  for (int y = 0; y < N; y++) {
    Sum sum[N] = {};
    for (int k = 0; k < N; k++) {
      const Sum c = columns[y * N + k];
      if (c == 0) continue;
      for (int x = 0; x < N; x++) sum[x] += c * b[k * N + x];
    }
    for (int x = 0; x < N; x++) out[y * N + x] = static_cast<int32_t>((sum[x] + kHalf) >> kBits);
  }
}

template <class Sum>
void inverse_of(const int32_t* in, int n, int rows, int32_t limit, int32_t* out) {
  if (n == 4) inverse<Sum, 4>(in, rows, limit, out);
  if (n == 8) inverse<Sum, 8>(in, rows, limit, out);
  if (n == 16) inverse<Sum, 16>(in, rows, limit, out);
  if (n == 32) inverse<Sum, 32>(in, rows, limit, out);
}

template <int N>
void forward(const float* residual, float* out) {
  const Basis& b = basis(N);
  float rows[N * N];
  for (int y = 0; y < N; y++) {
    float sum[N] = {};
    for (int x = 0; x < N; x++)
      for (int u = 0; u < N; u++) sum[u] += residual[y * N + x] * b.transposed[static_cast<size_t>(x * N + u)];
    for (int u = 0; u < N; u++) rows[y * N + u] = sum[u];
  }
  for (int v = 0; v < N; v++) {
    float sum[N] = {};
    for (int y = 0; y < N; y++)
      for (int u = 0; u < N; u++) sum[u] += b.exact[static_cast<size_t>(v * N + y)] * rows[y * N + u];
    for (int u = 0; u < N; u++) out[v * N + u] = sum[u];
  }
}

std::vector<uint16_t> make_scan(int n) {
  std::vector<uint16_t> order;
  for (int d = 0; d < 2 * n - 1; d++)
    for (int k = 0; k <= d; k++) {
      const int u = d & 1 ? k : d - k, v = d - u;
      if (u < n && v < n) order.push_back(static_cast<uint16_t>(v * n + u));
    }
  return order;
}

}  // namespace

void inverse_transform(const int32_t* coefficients, int n, int rows, bool wide, int32_t* out) {
  if (wide)
    inverse_of<int64_t>(coefficients, n, rows, coefficient_limit(true), out);
  else
    inverse_of<int32_t>(coefficients, n, rows, coefficient_limit(false), out);
}

void forward_transform(const float* residual, int n, float* out) {
  if (n == 4) forward<4>(residual, out);
  if (n == 8) forward<8>(residual, out);
  if (n == 16) forward<16>(residual, out);
  if (n == 32) forward<32>(residual, out);
}

const uint16_t* scan(int n) {
  static const std::vector<uint16_t> all[4] = {make_scan(4), make_scan(8), make_scan(16), make_scan(32)};
  return all[size_index(n)].data();
}

Steps make_steps(const uint8_t* profiles, const std::array<int32_t, 3>& plane_steps) {
  Steps steps;
  for (int plane = 0; plane < 3; plane++)
    for (int size = 0; size < 4; size++) {
      const int n = 4 << size;
      const uint8_t* knots = profiles + ((plane > 0) * 4 + size) * kKnots;
      auto& of = steps.of[plane][size];
      of.resize(static_cast<size_t>(n * n));
      for (int v = 0; v < n; v++)
        for (int u = 0; u < n; u++) {
          // The radius in 1/256 of the distance between knots; the farthest corner lies at the last one.
          const int radius = (u + v) * 256 * (kKnots - 1) / (2 * (n - 1));
          const int k = std::min(radius >> 8, kKnots - 2), f = radius - (k << 8);
          const int64_t weight = knots[k] * (256 - f) + knots[k + 1] * f;  // 1/16384
          of[static_cast<size_t>(v * n + u)] =
              static_cast<int32_t>(std::max<int64_t>(1, (plane_steps[static_cast<size_t>(plane)] * weight + 8192) >> 14));
        }
    }
  return steps;
}

}  // namespace scenerep::dct
