// A table of integers, each with a context class that both sides know before: scenerep/coding/conditional.py.
//
// The class stands for a predicted distribution (an index of its width, say); how often which value follows a class is
// learned while coding, so that the prediction need not be calibrated and there are no tables.
#include <algorithm>

#include <string>

#include "coding_integer.h"
#include "module.h"

namespace scenerep {

namespace {

using Ints = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

constexpr int kRecent = 12;

// 0 .. 11 by how large the two values above were: 0, 1, then in powers of two.
int recent_class(int32_t sum) { return sum == 0 ? 0 : std::min(kRecent - 1, 32 - __builtin_clz(static_cast<unsigned>(sum))); }

int32_t size_of(int32_t value) { return std::min(value < 0 ? -value : value, 1 << 20); }

// Values of [rows, columns], row by row, in `values`.
template <class Coder>
void code_table(Coder& coder, int32_t* values, const int32_t* classes, size_t rows, size_t columns, int count, int fine) {
  const int coarse = (count + fine - 1) / fine;
  IntegerModel<3> model({count, static_cast<int>(columns) * coarse, kRecent * coarse});
  for (size_t i = 0; i < rows; i++) {
    for (size_t c = 0; c < columns; c++) {
      const size_t at = i * columns + c;
      const int own = classes[at], wide = own / fine;
      const int32_t above = i > 0 ? size_of(values[at - columns]) : 0;
      const int32_t above2 = i > 1 ? size_of(values[at - 2 * columns]) : 0;
      const int recent = recent_class(above + above2);
      values[at] = model.code(coder, {own, static_cast<int>(c) * coarse + wide, recent * coarse + wide}, values[at]);
    }
  }
}

nb::bytes encode(Ints values, Ints classes, int count, int fine) {
  std::vector<int32_t> copy(values.data(), values.data() + values.size());
  std::vector<uint8_t> out;
  {
    nb::gil_scoped_release release;
    RangeEncoder coder;
    code_table(coder, copy.data(), classes.data(), values.shape(0), values.shape(1), count, fine);
    out = coder.finish();
  }
  return nb::bytes(reinterpret_cast<const char*>(out.data()), out.size());
}

// Fills `values`; the message of what is wrong, or an empty one.
std::string decode(nb::bytes data, nb::ndarray<int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu> values,
                   Ints classes, int count, int fine) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.c_str());
  const size_t size = data.size();
  nb::gil_scoped_release release;
  try {
    RangeDecoder coder(bytes, size);
    code_table(coder, values.data(), classes.data(), values.shape(0), values.shape(1), count, fine);
  } catch (const CodingError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

void bind_conditional(nb::module_& m) {
  m.def("encode_conditional", &encode, nb::arg("values"), nb::arg("classes"), nb::arg("count"), nb::arg("fine"));
  m.def("decode_conditional", &decode, nb::arg("data"), nb::arg("values"), nb::arg("classes"), nb::arg("count"),
        nb::arg("fine"));
}

}  // namespace scenerep
