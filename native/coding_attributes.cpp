#include "coding_attributes.h"

#include <algorithm>
#include <cmath>

namespace scenerep {

namespace {

constexpr int kWindow = 8;

// Twelve classes of a magnitude, growing in width.
int magnitude_class(int32_t x) {
  static constexpr uint8_t kTable[64] = {0, 1, 2, 3, 4, 5, 5, 6, 6, 6, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8,
                                         8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 10, 10,
                                         10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 11, 11, 11};
  return x < 64 ? kTable[x] : 11;
}
constexpr int kMagnitudes = 12;

// Fifteen classes of a signed value.
int signed_class(int32_t x) {
  static constexpr uint8_t kTable[18] = {0, 1, 2, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6};
  const int32_t m = x < 0 ? -x : x;
  const int c = m < 18 ? kTable[m] : 7;
  return x < 0 ? 7 - c : 7 + c;
}
constexpr int kSigned = 15;

int sign_class(int32_t x) { return x < 0 ? 0 : x > 0 ? 2 : 1; }

int32_t floor_divide(int64_t a, int64_t b) { return static_cast<int32_t>(a >= 0 ? a / b : -((-a + b - 1) / b)); }

int value_class(const ComponentSetup& s, int32_t v) {
  const int64_t c = (static_cast<int64_t>(v) - s.base) >> s.shift;
  return c < 0 ? 0 : c > 15 ? 15 : static_cast<int>(c);
}

}  // namespace

void find_neighbours(Cell& cell, const std::vector<int32_t>& order, int64_t begin, int64_t end) {
  const int64_t known = static_cast<int64_t>(order.size());
  int64_t at = 0;
  std::vector<Point> point(static_cast<size_t>(end));
  for (int64_t i = 0; i < end; i++) point[static_cast<size_t>(i)] = from_morton(cell.codes[static_cast<size_t>(i)]);
  for (int64_t i = begin; i < end; i++) {
    const uint64_t code = cell.codes[static_cast<size_t>(i)];
    const Point p = point[static_cast<size_t>(i)];
    int64_t best[kNeighbours];
    std::array<int32_t, kNeighbours> index;
    int found = 0;
    auto offer = [&](int32_t j) {
      const Point q = point[static_cast<size_t>(j)];
      const int64_t dx = p[0] - q[0], dy = p[1] - q[1], dz = p[2] - q[2];
      const int64_t d = dx * dx + dy * dy + dz * dz;
      int k = found < kNeighbours ? found : kNeighbours;
      while (k > 0 && (d < best[k - 1] || (d == best[k - 1] && j < index[static_cast<size_t>(k - 1)]))) k--;
      if (k == kNeighbours) return;
      if (found < kNeighbours) found++;
      for (int m = found - 1; m > k; m--) {
        best[m] = best[m - 1];
        index[static_cast<size_t>(m)] = index[static_cast<size_t>(m - 1)];
      }
      best[k] = d;
      index[static_cast<size_t>(k)] = j;
    };
    while (at < known && cell.codes[static_cast<size_t>(order[static_cast<size_t>(at)])] < code) at++;
    for (int64_t k = std::max<int64_t>(0, at - kWindow); k < std::min(known, at + kWindow); k++)
      offer(order[static_cast<size_t>(k)]);
    for (int64_t j = std::max(begin, i - 2 * kWindow); j < i; j++) offer(static_cast<int32_t>(j));
    for (int k = found; k < kNeighbours; k++) index[static_cast<size_t>(k)] = -1;
    cell.neighbours[static_cast<size_t>(i)] = index;
  }
}

struct AttributeModels {
  using Value = IntegerModel<4>;
  std::vector<Value> base;     // one for each of the components 0 .. 9
  std::vector<Value> sh;       // one for each SH component
  std::vector<BitModel<3>> present;  // one for each band
};

AttributeCoder::AttributeCoder(Cell& cell)
    : cell_(cell), setups_(static_cast<size_t>(cell.components)), models_(new AttributeModels) {
  for (int c = 0; c < 6; c++)
    models_->base.emplace_back(std::array<int, 4>{13, kSigned * 3, kMagnitudes * 4, c < 3 ? 16 * 4 : kSigned * kSigned});
  models_->base.emplace_back(std::array<int, 4>{13, 16 * 4, 16 * 4, 16 * 16});
  for (int c = 7; c < 10; c++)
    models_->base.emplace_back(std::array<int, 4>{13, kSigned * kSigned, kMagnitudes * 4, 16 * 16});
  for (int c = kBase; c < cell.components; c++)
    models_->sh.emplace_back(std::array<int, 4>{13, kMagnitudes * 4, kSigned * kSigned, 16 * 4});
  for (int b = 0; b < cell.bands; b++) models_->present.emplace_back(std::array<int, 3>{16 * 2, 16 * 2, 16 * 4}, 1);
}
AttributeCoder::~AttributeCoder() { delete models_; }

namespace {

struct Prediction {
  int32_t mean;
  int error_class;   // 0 .. 11 by the residuals of the neighbours; 12: no neighbours
  int spread_class;  // of the neighbours' values
  int count;
};

Prediction predict(const Cell& cell, int64_t i, int c, bool predicted) {
  const auto& nb = cell.neighbours[static_cast<size_t>(i)];
  int64_t sum = 0, errors = 0;
  int32_t low = INT32_MAX, high = INT32_MIN;
  int m = 0;
  for (; m < kNeighbours && nb[static_cast<size_t>(m)] >= 0; m++) {
    const size_t at = static_cast<size_t>(nb[static_cast<size_t>(m)]) * static_cast<size_t>(cell.components) +
                      static_cast<size_t>(c);
    const int32_t v = cell.values[at];
    sum += v;
    errors += cell.residuals[at];
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (m == 0) return {0, 12, 0, 0};
  const int32_t mean = predicted ? floor_divide(2 * sum + m, 2 * m) : 0;
  return {mean, magnitude_class(static_cast<int32_t>(std::min<int64_t>(errors * 3 / (2 * m), 1 << 20))),
          magnitude_class(std::min(high - low, 1 << 20)), m};
}

}  // namespace

void AttributeCoder::choose_setups() {
  const int64_t n = cell_.size();
  const int width = cell_.components;
  std::vector<int32_t> column(static_cast<size_t>(n));
  for (int c = 0; c < width; c++) {
    double with = 0, without = 0;
    for (int64_t i = 0; i < n; i++) {
      const int32_t v = cell_.values[static_cast<size_t>(i * width + c)];
      column[static_cast<size_t>(i)] = v;
      with += std::log2(1.0 + std::abs(v - predict(cell_, i, c, true).mean));
      without += std::log2(1.0 + std::abs(v));
    }
    ComponentSetup& s = setups_[static_cast<size_t>(c)];
    s.predicted = c < kBase || with <= without;
    if (c >= kBase || n == 0) continue;
    // Classes over the middle 98 % of the values.
    std::sort(column.begin(), column.end());
    s.base = column[static_cast<size_t>(n / 100)];
    const int32_t range = column[static_cast<size_t>(n - 1 - n / 100)] - s.base;
    s.shift = 0;
    while (range >> s.shift > 15) s.shift++;
  }
}

template <class Coder>
void AttributeCoder::code(Coder& coder, int stream, int64_t begin, int64_t end, bool first, float* bits) {
  static constexpr int kFirst[kStreams + 1] = {0, 0, 6, 7, 10, 19, 34, 55};
  const int width = cell_.components;
  const int from = kFirst[stream], to = kFirst[stream + 1];
  auto raw = [&](uint32_t value, int count) {
    uint32_t read = 0;
    for (int left = count; left > 0;) {
      const int take = left >= 8 ? 8 : left;
      left -= take;
      read = read << take | coder.raw(value >> left & ((1u << take) - 1), take);
    }
    return read;
  };
  if (first)
    for (int c = from; c < to; c++) {
      ComponentSetup& s = setups_[static_cast<size_t>(c)];
      s.predicted = raw(s.predicted, 1);
      if (c >= kBase) continue;
      s.base = static_cast<int32_t>(raw(static_cast<uint32_t>(s.base + kValueLimit), 25)) - kValueLimit;
      s.shift = static_cast<int>(raw(static_cast<uint32_t>(s.shift), 5));
    }
  coder.take_cost();

  for (int64_t i = begin; i < end; i++) {
    int32_t* value = &cell_.values[static_cast<size_t>(i * width)];
    int32_t* error = &cell_.residuals[static_cast<size_t>(i * width)];
    const int layer = std::min<int>(cell_.layer[static_cast<size_t>(i)], 3);
    int32_t signed_error[3] = {0, 0, 0};
    auto code_value = [&](AttributeModels::Value& model, int c, const Prediction& p,
                          const std::array<int, 4>& context) {
      const int32_t r = model.code(coder, context, Coder::kDecodes ? 0 : value[c] - p.mean);
      if constexpr (Coder::kDecodes) {
        value[c] = p.mean + r;
        if (value[c] >= kValueLimit || value[c] <= -kValueLimit) throw CodingError("an attribute beyond 24 bits");
      }
      error[c] = std::abs(r);
      return r;
    };
    auto cls = [&](int c) { return value_class(setups_[static_cast<size_t>(c)], value[c]); };
    if (stream == 1) {
      for (int c = 0; c < 6; c++) {
        const Prediction p = predict(cell_, i, c, setups_[static_cast<size_t>(c)].predicted);
        const int r = c % 3;
        const int before = r ? signed_class(signed_error[r - 1]) * 3 + sign_class(r > 1 ? signed_error[0] : 0) : layer;
        std::array<int, 4> context{p.error_class, before, p.spread_class * 4 + p.count, 0};
        if (c < 3) {
          context[3] = value_class(setups_[static_cast<size_t>(c)], p.mean) * 4 + layer;
        } else {
          context[3] = signed_class((value[0] - value[1]) / 2) * kSigned + signed_class((value[1] - value[2]) / 2);
        }
        signed_error[r] = code_value(models_->base[static_cast<size_t>(c)], c, p, context);
        if (c == 2 || c == 5) {
          const float cost = coder.take_cost();
          if (bits) bits[i * kCosts + (c == 2 ? 1 : 2)] = cost;
        }
      }
    } else if (stream == 2) {
      const Prediction p = predict(cell_, i, 6, setups_[6].predicted);
      code_value(models_->base[6], 6, p,
                 {p.error_class, value_class(setups_[6], p.mean) * 4 + p.count, cls(0) * 4 + layer,
                  cls(1) * 16 + cls(2)});
      const float cost = coder.take_cost();
      if (bits) bits[i * kCosts + 3] = cost;
    } else if (stream == 3) {
      for (int c = 7; c < 10; c++) {
        const Prediction p = predict(cell_, i, c, setups_[static_cast<size_t>(c)].predicted);
        const int before = c == 7 ? cls(0) : signed_class(signed_error[0]) * kSigned + signed_class(signed_error[1]);
        signed_error[c - 7] = code_value(
            models_->base[static_cast<size_t>(c)], c, p,
            {p.error_class, before, p.spread_class * 4 + p.count,
             value_class(setups_[static_cast<size_t>(c)], p.mean) * 16 + cls(6)});
      }
      const float cost = coder.take_cost();
      if (bits) bits[i * kCosts + 4] = cost;
    } else {
      const int band = stream - 3;
      int with = 0, m = 0;
      for (; m < kNeighbours && cell_.neighbours[static_cast<size_t>(i)][static_cast<size_t>(m)] >= 0; m++) {
        const int32_t* v = &cell_.values[static_cast<size_t>(cell_.neighbours[static_cast<size_t>(i)][static_cast<size_t>(m)]) *
                                         static_cast<size_t>(width)];
        with += std::any_of(v + from, v + to, [](int32_t x) { return x != 0; });
      }
      const bool lower_band = band > 1 && std::any_of(value + kFirst[stream - 1], value + from, [](int32_t x) { return x != 0; });
      const int present = models_->present[static_cast<size_t>(band - 1)].code(
          coder, {(with * 4 + m) * 2 + lower_band, cls(6) * 2 + lower_band, cls(0) * 4 + layer}, 0,
          !Coder::kDecodes && std::any_of(value + from, value + to, [](int32_t x) { return x != 0; }));
      if (present) {
        int32_t total = 0;
        for (int c = from; c < to; c++) {
          const Prediction p = predict(cell_, i, c, setups_[static_cast<size_t>(c)].predicted);
          const int channel = (c - kBase) % 3;
          const int32_t a = c - from >= 3 ? value[c - 3] : 0, b = channel ? value[c - channel] : 0;
          code_value(models_->sh[static_cast<size_t>(c - kBase)], c, p,
                     {p.error_class, magnitude_class(std::min(total, 1 << 20)) * 4 + p.count,
                      signed_class(a) * kSigned + signed_class(b), cls(6) * 4 + layer});
          total += std::abs(value[c]);
        }
      } else {
        for (int c = from; c < to; c++) value[c] = error[c] = 0;
      }
      const float cost = coder.take_cost();
      if (bits) bits[i * kCosts + 1 + stream] = cost;
    }
  }
}

template void AttributeCoder::code(RangeEncoder&, int, int64_t, int64_t, bool, float*);
template void AttributeCoder::code(RangeDecoder&, int, int64_t, int64_t, bool, float*);

}  // namespace scenerep
