// What encoder and decoder of `dct` know about a block, and how it becomes samples. See image_dct.h.
#include <algorithm>
#include <cstring>

#include "image_dct.h"

namespace scenerep::dct {

namespace {

// Frequencies that share a context, finer where they are low.
int place_class(int u, int size) {
  static constexpr uint8_t k16[16] = {0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7};
  if (size < 2) return u;
  if (size == 2) return k16[u];
  return u < 4 ? u : u < 8 ? 4 : u < 16 ? 5 : u < 24 ? 6 : 7;
}

int sum_class(int d) { return d == 0 ? 0 : d < 3 ? 1 : d < 6 ? 2 : d < 11 ? 3 : 4; }

int fifth(int u, int n) { return u == 0 ? 0 : u == 1 ? 1 : u * 8 < n * 2 ? 2 : u * 8 < n * 4 ? 3 : 4; }

}  // namespace

int mode_class(int mode) {
  if (mode <= kMean) return 0;
  if (mode == kFromLuma) return 4;
  const int d = mode - kFirstDirection;
  return std::abs(d - 8) <= 3 ? 1 : std::abs(d - 24) <= 3 ? 2 : 3;
}

void Levels::clear() {
  std::memset(m_, 0, sizeof m_);
  nonzero_ = 0;
}

void Levels::find(Model& model, int u, int v, std::array<Slot*, kJ>& base) const {
  const int32_t* m = m_ + v * kStride + u;
  const int right = m[1], below = m[kStride], across = m[kStride + 1], far = m[2] + m[2 * kStride];
  const int64_t wide = 2 * (static_cast<int64_t>(right) + below + across) + far;
  const int t = static_cast<int>(std::min<int64_t>(wide, 1 << 20));
  const int tc = log_class(t, kTemplates - 1), few = t == 0 ? 0 : t < 5 ? 1 : 2;
  const int chroma = b_.plane > 0, own = chroma * 4 + b_.size, d = sum_class(u + v);
  const int n0 = nonzero_ == 0 ? 0 : nonzero_ < 3 ? 1 : nonzero_ < 8 ? 2 : nonzero_ < 24 ? 3 : 4;
  int last;
  if (b_.plane < 2) {
    last = b_.plane * 600 + ((b_.activity * 5 + n0) * 5 + d) * 4 + b_.size;
  } else {
    const int32_t other = b_.other[v * b_.other_stride + u];
    last = 1200 + (((std::min(std::abs(other), 3)) * 6 + std::min(tc, 5)) * 5 + d) * 4 + b_.size;
  }
  const int contexts[kJ] = {
      (own * kTemplates + tc) * 5 + d,
      ((own * 8 + place_class(v, b_.size)) * 8 + place_class(u, b_.size)) * 3 + few,
      chroma * 192 + ((std::min(right, 3) * 4 + std::min(below, 3)) * 3 + std::min(across, 2)) * 4 + std::min(far, 3),
      (((klass_ * 4 + b_.size) * 5 + fifth(v, b_.n)) * 5 + fifth(u, b_.n)) * 3 + few,
      last,
  };
  Slot* bank = model.slots.data();
  for (int j = 0; j < kJ; j++) {
    base[static_cast<size_t>(j)] = bank + static_cast<size_t>(contexts[j]) * kNodes;
    bank += static_cast<size_t>(kBanks[static_cast<size_t>(j)]) * kNodes;
  }
}

Picture::Picture(const Layout& l) : layout(l) {
  const size_t n = static_cast<size_t>(l.width) * l.height, units = n / (kUnit * kUnit);
  for (int p = 0; p < l.planes; p++) {
    samples[p].resize(n);
    levels[p].resize(n);
    activity[p].resize(units);
  }
  for (int t = 0; t < (l.planes > 1 ? 2 : 1); t++)
    for (auto* map : {&sizes[t], &modes[t], &done[t]}) map->resize(units);
}

BlockContext block_context(Picture& p, int plane, int x, int y, int n, int mode) {
  const auto& done = p.done[plane > 0];
  int sum = 0, count = 0;
  for (int k = 0; k < n; k += kUnit) {
    if (x > 0 && done[p.unit(x - 1, y + k)]) sum += p.activity[plane][p.unit(x - 1, y + k)], count++;
    if (y > 0 && done[p.unit(x + k, y - 1)]) sum += p.activity[plane][p.unit(x + k, y - 1)], count++;
  }
  const int activity = count ? (2 * sum + count) / (2 * count) : 2;
  BlockContext b{plane, size_index(n), n, mode, activity, nullptr, 0, false};
  if (plane == 2) {
    b.other = p.levels_at(1, x, y);
    b.other_stride = p.layout.width;
    b.other_filled = any_level(b.other, n, b.other_stride);
  }
  return b;
}

std::array<int, 3> likely_modes(const Picture& p, int tree, int x, int y, int n) {
  constexpr int kVertical = kFirstDirection + 24;
  if (tree) {
    const int luma = p.modes[0][p.unit(x + n / 2, y + n / 2)];
    return {kFromLuma, luma, luma == kSmooth ? kMean : kSmooth};
  }
  auto mode_at = [&](int px, int py) {
    return px < 0 || py < 0 || !p.done[0][p.unit(px, py)] ? kSmooth : static_cast<int>(p.modes[0][p.unit(px, py)]);
  };
  const int left = mode_at(x - 1, y + n - 1), above = mode_at(x + n - 1, y - 1);
  if (left == above) {
    if (left < kFirstDirection) return {left, 1 - left, kVertical};
    const int d = left - kFirstDirection;
    return {left, kFirstDirection + (d > 0 ? d - 1 : d + 2), kFirstDirection + (d + 1 < kDirections ? d + 1 : d - 2)};
  }
  const int third = left != kSmooth && above != kSmooth ? kSmooth : left != kMean && above != kMean ? kMean : kVertical;
  return {left, above, third};
}

bool any_level(const int32_t* levels, int n, int stride) {
  for (int v = 0; v < n; v++)
    for (int u = 0; u < n; u++)
      if (levels[v * stride + u]) return true;
  return false;
}

void finish_block(Picture& p, int plane, int x, int y, int n) {
  const int32_t* levels = p.levels_at(plane, x, y);
  int64_t sum = 0;
  for (int v = 0; v < n; v++)
    for (int u = 0; u < n; u++) sum += std::abs(levels[v * p.layout.width + u]);
  const int64_t density = sum * 64 / (n * n);  // 64 = one a coefficient
  const int a = sum == 0 ? 0 : density < 2 ? 1 : density < 8 ? 2 : density < 24 ? 3 : density < 80 ? 4 : 5;
  set_units(p.activity[plane], p, x, y, n, static_cast<uint8_t>(a));
}

void set_units(std::vector<uint8_t>& map, const Picture& p, int x, int y, int n, uint8_t value) {
  for (int k = 0; k < n; k += kUnit) {
    uint8_t* row = &map[p.unit(x, y + k)];
    std::fill(row, row + n / kUnit, value);
  }
}

void predict_block(Picture& p, const Settings& s, int plane, int x, int y, int n, int mode, int32_t* out) {
  const Layout& l = p.layout;
  const uint8_t* done = p.done[plane > 0].data();
  Edge edge, other;
  gather(p.samples[plane].data(), l.width, l.height, done, x, y, n, s.middle[plane], edge);
  if (mode == kFromLuma) {
    gather(p.samples[0].data(), l.width, l.height, done, x, y, n, s.middle[0], other);
    predict_from_luma(p.at(0, x, y), l.width, n, other, edge, out);
  } else if (uses_smooth(mode, n)) {
    smooth(edge, n, other);
    predict(mode, n, other, out);
  } else {
    predict(mode, n, edge, out);
  }
}

void reconstruct(Picture& p, const Settings& s, int plane, int x, int y, int n, const int32_t* prediction) {
  const int32_t* levels = p.levels_at(plane, x, y);
  const std::vector<int32_t>& steps = s.steps.of[plane][size_index(n)];
  const int32_t limit = coefficient_limit(s.wide);
  const int stride = p.layout.width;
  int32_t coefficients[kSuper * kSuper], residual[kSuper * kSuper] = {};
  int rows = 0;
  for (int v = 0; v < n; v++)
    for (int u = 0; u < n; u++) {
      const int32_t level = levels[v * stride + u];
      coefficients[v * n + u] = level ? dequantise(level, steps[static_cast<size_t>(v * n + u)], limit) : 0;
      if (level) rows = v + 1;
    }
  if (rows) inverse_transform(coefficients, n, rows, s.wide, residual);
  // Samples stay within what the transform can take again, whatever a broken file says.
  const int32_t low = s.low[plane], high = s.high[plane];
  for (int r = 0; r < n; r++) {
    int32_t* out = p.at(plane, x, y + r);
    for (int c = 0; c < n; c++) out[c] = std::clamp(prediction[r * n + c] + residual[r * n + c], low, high);
  }
}

}  // namespace scenerep::dct
