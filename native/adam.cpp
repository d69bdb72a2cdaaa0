// Adam on the rows of one matrix, for Python; adam.h has the arithmetic.
//
// Rows are shared out to threads in chunks and no sum crosses a row, so the result does not depend on their number.
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <stdexcept>

#include "adam.h"
#include "module.h"
#include "pool.h"

namespace scenerep {
namespace {

using Matrix = Array<float, -1, -1>;
using ConstMatrix = Array<const float, -1, -1>;

constexpr int64_t kChunk = 1 << 14;  // floats per task: a few microseconds of work

void adam_step(Matrix param, ConstMatrix grad, Matrix m, Matrix v, std::optional<Array<const uint8_t, -1>> visible,
               Array<const float, -1> column_rate, double beta1, double beta2, double eps, int64_t step,
               int64_t active) {
  const auto n = static_cast<int64_t>(param.shape(0)), columns = static_cast<int64_t>(param.shape(1));
  auto like = [&](const auto& a) {
    return static_cast<int64_t>(a.shape(0)) == n && static_cast<int64_t>(a.shape(1)) == columns;
  };
  if (!like(grad) || !like(m) || !like(v)) throw std::invalid_argument("param, grad, m and v differ in shape");
  if (visible && static_cast<int64_t>(visible->shape(0)) != n) throw std::invalid_argument("visible: expected [n]");
  if (static_cast<int64_t>(column_rate.shape(0)) != columns) throw std::invalid_argument("column_rate: expected [k]");
  if (active < 0 || active > columns) throw std::invalid_argument("active: expected 0 to k columns");
  if (step < 1) throw std::invalid_argument("step: the first is 1");
  if (n == 0 || active == 0) return;

  const int64_t chunk = std::max<int64_t>(1, kChunk / columns);
  const AdamRows adam(AdamConstants(beta1, beta2, eps, step), columns, active, column_rate.data(), std::min(chunk, n));
  const AdamArrays a{param.data(), grad.data(), m.data(), v.data()};
  const uint8_t* seen = visible ? visible->data() : nullptr;
  nb::gil_scoped_release release;
  Pool::instance().parallel_for(n, chunk, [&](int64_t begin, int64_t end) { adam.rows(a, begin, end, seen); });
}

}  // namespace

void bind_adam(nb::module_& m) {
  m.def("adam_step", &adam_step, nb::arg("param").noconvert(), nb::arg("grad").noconvert(), nb::arg("m").noconvert(),
        nb::arg("v").noconvert(), nb::arg("visible").noconvert().none(), nb::arg("column_rate").noconvert(),
        nb::arg("beta1"), nb::arg("beta2"), nb::arg("eps"), nb::arg("step"), nb::arg("active"),
        "One step of Adam, in place, on the first `active` columns of the visible rows.");
}

}  // namespace scenerep
