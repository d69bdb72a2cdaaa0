// Cells of a splat scene to byte streams and back: the border to Python. Reference: scenerep/coding/reference/cell.py.
#include <memory>
#include <string>

#include "coding_attributes.h"
#include "module.h"
#include "pool.h"

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

// Indices 0 .. end - 1 by Morton code, given the order of the first `begin` of them.
void merge_layer(const Cell& cell, std::vector<int32_t>& order, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) order.push_back(static_cast<int32_t>(i));
  std::inplace_merge(order.begin(), order.begin() + begin, order.end(), [&](int32_t a, int32_t b) {
    return cell.codes[static_cast<size_t>(a)] < cell.codes[static_cast<size_t>(b)];
  });
}

std::vector<uint64_t> sorted_codes(const Cell& cell, const std::vector<int32_t>& order) {
  std::vector<uint64_t> codes;
  codes.reserve(order.size());
  for (int32_t i : order) codes.push_back(cell.codes[static_cast<size_t>(i)]);
  return codes;
}

// positions [n, 3] and values [n, components] in coded order, counts of the layers -> streams[layer][stream], bits.
nb::tuple encode_cell(Ints positions, Ints values, Longs counts, int depth, bool costs) {
  Cell cell;
  const size_t n = positions.shape(0);
  cell.depth = depth;
  cell.components = static_cast<int>(values.shape(1));
  const int k = (cell.components - kBase) / 3;
  cell.bands = k == 0 ? 0 : k == 3 ? 1 : k == 8 ? 2 : 3;
  std::vector<float> bits(costs ? n * kCosts : 0);
  std::vector<std::vector<std::vector<uint8_t>>> streams;
  std::vector<int64_t> layer_counts(counts.data(), counts.data() + counts.size());
  {
    nb::gil_scoped_release release;
    cell.values.assign(values.data(), values.data() + n * values.shape(1));
    cell.residuals.resize(cell.values.size());
    cell.neighbours.resize(n);
    for (size_t i = 0; i < n; i++)
      cell.codes.push_back(morton(positions.data()[3 * i], positions.data()[3 * i + 1], positions.data()[3 * i + 2]));
    std::vector<int32_t> order;
    int64_t begin = 0;
    for (size_t layer = 0; layer < layer_counts.size(); layer++) {
      const int64_t end = begin + layer_counts[layer];
      cell.layer.insert(cell.layer.end(), static_cast<size_t>(end - begin), static_cast<uint8_t>(layer));
      find_neighbours(cell, order, begin, end);
      merge_layer(cell, order, begin, end);
      begin = end;
    }
    AttributeCoder attributes(cell);
    attributes.choose_setups();
    OctreeModels octree;
    order.clear();
    begin = 0;
    for (size_t layer = 0; layer < layer_counts.size(); layer++) {
      const int64_t end = begin + layer_counts[layer];
      std::vector<std::vector<uint8_t>> coded;
      RangeEncoder geometry;
      std::vector<uint64_t> codes(cell.codes.begin() + begin, cell.codes.begin() + end);
      std::vector<float> cost(costs ? codes.size() : 0);
      code_octree(geometry, octree, depth, sorted_codes(cell, order), end - begin, codes, costs ? cost.data() : nullptr);
      for (size_t i = 0; i < cost.size(); i++) bits[(static_cast<size_t>(begin) + i) * kCosts] = cost[i];
      coded.push_back(geometry.finish());
      for (int stream = 1; stream <= 3 + cell.bands; stream++) {
        RangeEncoder coder;
        attributes.code(coder, stream, begin, end, begin == 0, costs ? bits.data() : nullptr);
        coded.push_back(coder.finish());
      }
      streams.push_back(std::move(coded));
      merge_layer(cell, order, begin, end);
      begin = end;
    }
  }
  nb::list out;
  for (const auto& layer : streams) {
    nb::list row;
    for (const auto& bytes : layer) row.append(nb::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    out.append(row);
  }
  return nb::make_tuple(out, to_numpy(std::move(bits), {costs ? n : 0, kCosts}));
}

struct Broken {
  size_t layer = 0;
  int stream = 0;
  std::string what;
};

// The inverse, for the layers given: (positions, values, None), or (None, None, (layer, stream, message)).
// Streams that are not there (an empty list entry) leave their components 0.
nb::tuple decode_cell(const std::vector<std::vector<nb::bytes>>& streams, Longs counts, Longs layers, int depth,
                      int bands) {
  Cell cell;
  cell.depth = depth;
  cell.bands = bands;
  cell.components = kBase + 3 * ((bands + 1) * (bands + 1) - 1);
  std::vector<int64_t> layer_counts(counts.data(), counts.data() + counts.size());
  std::vector<std::vector<std::pair<const uint8_t*, size_t>>> views;
  for (const auto& layer : streams) {
    views.emplace_back();
    for (const auto& bytes : layer)
      views.back().emplace_back(reinterpret_cast<const uint8_t*>(bytes.c_str()), bytes.size());
  }
  std::unique_ptr<Broken> broken;
  std::vector<int32_t> positions;
  {
    nb::gil_scoped_release release;
    size_t layer = 0;
    int stream = 0;
    try {
      AttributeCoder attributes(cell);
      OctreeModels octree;
      std::vector<int32_t> order;
      int64_t begin = 0;
      for (; layer < views.size(); layer++) {
        stream = 0;
        RangeDecoder geometry(views[layer][0].first, views[layer][0].second);
        std::vector<uint64_t> codes;
        code_octree(geometry, octree, depth, sorted_codes(cell, order), layer_counts[layer], codes, nullptr);
        cell.codes.insert(cell.codes.end(), codes.begin(), codes.end());
        const int64_t end = cell.size();
        cell.layer.resize(static_cast<size_t>(end), static_cast<uint8_t>(layers.data()[layer]));
        cell.values.resize(static_cast<size_t>(end * cell.components));
        cell.residuals.resize(cell.values.size());
        cell.neighbours.resize(static_cast<size_t>(end));
        find_neighbours(cell, order, begin, end);
        const int given = static_cast<int>(views[layer].size());
        for (stream = 1; stream < given; stream++) {
          RangeDecoder coder(views[layer][static_cast<size_t>(stream)].first,
                             views[layer][static_cast<size_t>(stream)].second);
          attributes.code(coder, stream, begin, end, begin == 0, nullptr);
        }
        merge_layer(cell, order, begin, end);
        begin = end;
      }
    } catch (const CodingError& error) {
      broken = std::make_unique<Broken>(Broken{layer, stream, error.what()});
    }
    if (!broken) {
      positions.reserve(cell.codes.size() * 3);
      for (uint64_t code : cell.codes)
        for (int32_t x : from_morton(code)) positions.push_back(x);
    }
  }
  if (broken) return nb::make_tuple(nb::none(), nb::none(), nb::make_tuple(broken->layer, broken->stream, broken->what.c_str()));
  const size_t n = cell.codes.size(), width = static_cast<size_t>(cell.components);
  return nb::make_tuple(to_numpy(std::move(positions), {n, 3}), to_numpy(std::move(cell.values), {n, width}), nb::none());
}

}  // namespace

void bind_coding(nb::module_& m) {
  m.def("encode_cell", &encode_cell, nb::arg("positions"), nb::arg("values"), nb::arg("counts"), nb::arg("depth"),
        nb::arg("costs"));
  m.def("decode_cell", &decode_cell, nb::arg("streams"), nb::arg("counts"), nb::arg("layers"),
        nb::arg("depth"), nb::arg("bands"));
}

}  // namespace scenerep
