// The border to Python: scenerep/coding/cells.py and symbols.py are the other side.
#include <algorithm>
#include <memory>

#include "coding_cell.h"
#include "coding_symbols.h"
#include "module.h"

namespace scenerep {

namespace {

using Ints = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;
using Longs = nb::ndarray<const int64_t, nb::c_contig, nb::device::cpu>;

template <class T>
nb::ndarray<nb::numpy, T> to_numpy(std::vector<T>&& values, std::vector<size_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::ndarray<nb::numpy, T>(kept->data(), shape.size(), shape.data(), owner);
}

std::vector<int64_t> to_vector(Longs values) { return {values.data(), values.data() + values.size()}; }

// -> (streams[layer][stream], float32 [n, 8] bits; [0, 8] if `costs` is not set).
nb::tuple encode(Ints positions, Ints values, Longs counts, int depth, bool costs) {
  const size_t n = positions.shape(0);
  const CellInput input{positions.data(), values.data(), n, static_cast<int>(values.shape(1)), depth, to_vector(counts)};
  std::vector<float> bits(costs ? n * kCosts : 0);
  std::vector<std::vector<Bytes>> streams;
  {
    nb::gil_scoped_release release;
    streams = encode_cell(input, costs ? bits.data() : nullptr);
  }
  nb::list out;
  for (const auto& layer : streams) {
    nb::list row;
    for (const auto& bytes : layer) row.append(nb::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    out.append(row);
  }
  return nb::make_tuple(out, to_numpy(std::move(bits), {costs ? n : 0, kCosts}));
}

// [n, components]; a block of Gaussians at a time stays in the cache.
std::vector<int32_t> rows_of(const Cell& cell) {
  const size_t n = cell.codes.size(), width = static_cast<size_t>(cell.components);
  std::vector<int32_t> rows(n * width);
  for (size_t begin = 0; begin < n; begin += 64)
    for (size_t c = 0; c < width; c++)
      for (size_t i = begin; i < std::min(n, begin + 64); i++) rows[i * width + c] = cell.values[c][i];
  return rows;
}

// -> (positions, values, None), or (None, None, (chunk, stream, message)).
nb::tuple decode(const std::vector<std::vector<nb::bytes>>& streams, Longs counts, Longs layers, int depth, int bands) {
  std::vector<std::vector<View>> views;
  for (const auto& layer : streams) {
    views.emplace_back();
    for (const auto& bytes : layer)
      views.back().emplace_back(reinterpret_cast<const uint8_t*>(bytes.c_str()), bytes.size());
  }
  const std::vector<int64_t> sizes = to_vector(counts), numbers = to_vector(layers);
  Cell cell;
  CellFault fault;
  std::vector<int32_t> positions, values;
  {
    nb::gil_scoped_release release;
    fault = decode_cell(views, sizes, numbers, depth, bands, cell);
    if (fault.message.empty()) {
      positions.reserve(cell.codes.size() * 3);
      for (uint64_t code : cell.codes)
        for (int32_t x : from_morton(code)) positions.push_back(x);
      values = rows_of(cell);
    }
  }
  if (!fault.message.empty())
    return nb::make_tuple(nb::none(), nb::none(), nb::make_tuple(fault.layer, fault.stream, fault.message.c_str()));
  const size_t n = cell.codes.size(), width = static_cast<size_t>(cell.components);
  return nb::make_tuple(to_numpy(std::move(positions), {n, 3}), to_numpy(std::move(values), {n, width}), nb::none());
}

nb::bytes to_bytes(const Bytes& bytes) {
  return nb::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

View view_of(const nb::bytes& bytes) { return {reinterpret_cast<const uint8_t*>(bytes.c_str()), bytes.size()}; }

nb::bytes symbols_to_bytes(Ints symbols, int size, bool optional) {
  return to_bytes(encode_symbols(symbols.data(), symbols.size(), size, optional));
}

nb::bytes rows_to_bytes(Ints values) {
  return to_bytes(encode_rows(values.data(), values.shape(0), static_cast<int>(values.shape(1))));
}

// -> (values, None), or (None, message).
template <class Decode>
nb::tuple decoded(std::vector<size_t> shape, Decode decode) {
  std::vector<int32_t> values;
  try {
    nb::gil_scoped_release release;
    values = decode();
  } catch (const CodingError& error) {
    return nb::make_tuple(nb::none(), error.what());
  }
  return nb::make_tuple(to_numpy(std::move(values), std::move(shape)), nb::none());
}

nb::tuple symbols_from_bytes(const nb::bytes& stream, size_t n, int size, bool optional) {
  return decoded({n}, [&] { return decode_symbols(view_of(stream), n, size, optional); });
}

nb::tuple rows_from_bytes(const nb::bytes& stream, size_t n, int width) {
  return decoded({n, static_cast<size_t>(width)}, [&] { return decode_rows(view_of(stream), n, width); });
}

}  // namespace

void bind_coding(nb::module_& m) {
  m.def("encode_cell", &encode, nb::arg("positions"), nb::arg("values"), nb::arg("counts"), nb::arg("depth"),
        nb::arg("costs"));
  m.def("decode_cell", &decode, nb::arg("streams"), nb::arg("counts"), nb::arg("layers"), nb::arg("depth"),
        nb::arg("bands"));
  m.def("encode_symbols", &symbols_to_bytes, nb::arg("symbols"), nb::arg("size"), nb::arg("optional"));
  m.def("decode_symbols", &symbols_from_bytes, nb::arg("stream"), nb::arg("n"), nb::arg("size"), nb::arg("optional"));
  m.def("encode_rows", &rows_to_bytes, nb::arg("values"));
  m.def("decode_rows", &rows_from_bytes, nb::arg("stream"), nb::arg("n"), nb::arg("width"));
}

}  // namespace scenerep
