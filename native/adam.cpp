// Adam (Kingma and Ba 2015, algorithm 1) on the rows that were seen, in place and in one pass over memory.
//
//   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//
// A row that no pixel saw is left as it is, its moments too: the "visible only" rule of Taming 3DGS (Mallick et al. 2024).
// Rows are shared out to threads in chunks and no sum crosses a row, so the result does not depend on their number.
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "module.h"
#include "pool.h"
#include "simd.h"

namespace scenerep {
namespace {

using Matrix = Array<float, -1, -1>;
using ConstMatrix = Array<const float, -1, -1>;

constexpr int64_t kChunk = 1 << 14;  // floats per task: a few microseconds of work

struct Rates {
  f16 b1, one_minus_b1, b2, one_minus_b2, root_correction, eps;
};

// Sixteen parameters. Returns the new value; m and v are updated.
SR_INLINE f16 update(const Rates& k, f16 p, f16 g, f16& m, f16& v, f16 step) {
  m = fma(k.b1, m, k.one_minus_b1 * g);
  v = fma(k.b2, v, k.one_minus_b2 * (g * g));
  return fnma(step, m / fma(sqrt(v), k.root_correction, k.eps), p);
}

struct Arrays {
  float* p;
  const float* g;
  float *m, *v;
};

SR_INLINE void update_at(const Rates& k, const Arrays& a, int64_t i, f16 step) {
  f16 m = load(a.m + i), v = load(a.v + i);
  store(a.p + i, update(k, load(a.p + i), load(a.g + i), m, v, step));
  store(a.m + i, m);
  store(a.v + i, v);
}

// The same for fewer than sixteen.
SR_INLINE void update_some(const Rates& k, const Arrays& a, int64_t i, int64_t count, f16 step) {
  float p[kLanes] = {}, g[kLanes] = {}, m[kLanes] = {}, v[kLanes] = {};
  std::memcpy(p, a.p + i, count * sizeof(float));
  std::memcpy(g, a.g + i, count * sizeof(float));
  std::memcpy(m, a.m + i, count * sizeof(float));
  std::memcpy(v, a.v + i, count * sizeof(float));
  update_at(k, {p, g, m, v}, 0, step);
  std::memcpy(a.p + i, p, count * sizeof(float));
  std::memcpy(a.m + i, m, count * sizeof(float));
  std::memcpy(a.v + i, v, count * sizeof(float));
}

// A run of floats, whose rate at i is step[i - begin], with sixteen readable floats after its end.
void update_run(const Rates& k, const Arrays& a, int64_t begin, int64_t count, const float* step) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) update_at(k, a, begin + i, load(step + i));
  if (i < count) update_some(k, a, begin + i, count - i, load(step + i));
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

// Sixteen short rows of which some were seen: all are computed, and those not seen keep their bits.
// `spread` has, for each pattern of four rows, a bit for each of their 4 * columns floats.
SR_INLINE void update_block(const Rates& k, const Arrays& a, int64_t begin, int64_t columns, const uint8_t* seen,
                            const uint16_t* spread, const float* step) {
  const uint64_t rows = eight_bits(seen) | eight_bits(seen + 8) << 8;
  if (rows == 0) return;
  uint64_t floats = 0;
  for (int q = 0; q < 4; q++) floats |= uint64_t{spread[rows >> (4 * q) & 15]} << (4 * q * columns);
  for (int64_t j = 0; j < columns; j++) {
    const m16 mask = mask_from_bits(floats >> (kLanes * j) & 0xffff);
    const int64_t i = begin + j * kLanes;
    const f16 old_p = load(a.p + i), old_m = load(a.m + i), old_v = load(a.v + i);
    f16 m = old_m, v = old_v;
    const f16 p = update(k, old_p, load(a.g + i), m, v, load(step + j * kLanes));
    store(a.p + i, select(mask, p, old_p));
    store(a.m + i, select(mask, m, old_m));
    store(a.v + i, select(mask, v, old_v));
  }
}

void adam_step(Matrix param, ConstMatrix grad, Matrix m, Matrix v, std::optional<Array<const uint8_t, -1>> visible,
               Array<const float, -1> column_rate, std::optional<Array<const float, -1>> row_rate, double beta1,
               double beta2, double eps, int64_t step, int64_t active) {
  const auto n = static_cast<int64_t>(param.shape(0)), columns = static_cast<int64_t>(param.shape(1));
  auto like = [&](const auto& a) {
    return static_cast<int64_t>(a.shape(0)) == n && static_cast<int64_t>(a.shape(1)) == columns;
  };
  if (!like(grad) || !like(m) || !like(v)) throw std::invalid_argument("param, grad, m and v differ in shape");
  if (visible && static_cast<int64_t>(visible->shape(0)) != n) throw std::invalid_argument("visible: expected [n]");
  if (static_cast<int64_t>(column_rate.shape(0)) != columns) throw std::invalid_argument("column_rate: expected [k]");
  if (row_rate && static_cast<int64_t>(row_rate->shape(0)) != n) throw std::invalid_argument("row_rate: expected [n]");
  if (active < 0 || active > columns) throw std::invalid_argument("active: expected 0 to k columns");
  if (step < 1) throw std::invalid_argument("step: the first is 1");
  if (n == 0 || active == 0) return;

  const double correction1 = 1 - std::pow(beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(step));
  const Rates k{f16(static_cast<float>(beta1)),     f16(static_cast<float>(1 - beta1)),
                f16(static_cast<float>(beta2)),     f16(static_cast<float>(1 - beta2)),
                f16(static_cast<float>(1 / std::sqrt(correction2))), f16(static_cast<float>(eps))};
  const Arrays a{param.data(), grad.data(), m.data(), v.data()};
  const uint8_t* seen = visible ? visible->data() : nullptr;
  const float* rows = row_rate ? row_rate->data() : nullptr;

  // The rates of as many rows as a task has: a run of whole rows is then one long vector.
  const int64_t chunk = std::max<int64_t>(1, kChunk / columns);
  const int64_t runs = active == columns && !rows ? std::min(chunk, n) : 1;
  const bool blocks = seen && runs >= kLanes && columns <= 4;  // short rows: taken sixteen at a time
  uint16_t spread[16] = {};
  for (int pattern = 0; blocks && pattern < 16; pattern++)
    for (int64_t i = 0; i < 4 * columns; i++) spread[pattern] |= (pattern >> (i / columns) & 1) << i;
  std::vector<float> steps(runs * columns + kLanes, 0.0f);
  for (int64_t i = 0; i < runs * columns; i++)
    steps[i] = static_cast<float>(column_rate.data()[i % columns] / correction1);

  nb::gil_scoped_release release;
  Pool::instance().parallel_for(n, chunk, [&](int64_t begin, int64_t end) {
    std::vector<float> scaled(rows ? steps.size() : 0);
    int64_t r = begin;
    for (; blocks && r + kLanes <= end; r += kLanes)
      update_block(k, a, r * columns, columns, seen + r, spread, steps.data());
    while (r < end) {
      if (seen && !seen[r]) {
        r++;
        continue;
      }
      int64_t last = r + 1;
      if (runs > 1)
        while (last < end && (!seen || seen[last])) last++;
      const float* step = steps.data();
      if (rows) {
        for (int64_t i = 0; i < active; i++) scaled[i] = steps[i] * rows[r];
        step = scaled.data();
      }
      update_run(k, a, r * columns, (last - r - 1) * columns + active, step);
      r = last;
    }
  });
}

}  // namespace

void bind_adam(nb::module_& m) {
  m.def("adam_step", &adam_step, nb::arg("param").noconvert(), nb::arg("grad").noconvert(), nb::arg("m").noconvert(),
        nb::arg("v").noconvert(), nb::arg("visible").noconvert().none(), nb::arg("column_rate").noconvert(),
        nb::arg("row_rate").noconvert().none(), nb::arg("beta1"), nb::arg("beta2"), nb::arg("eps"), nb::arg("step"),
        nb::arg("active"), "One step of Adam, in place, on the first `active` columns of the visible rows.");
}

}  // namespace scenerep
