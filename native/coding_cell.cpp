#include "coding_cell.h"

#include <algorithm>

namespace scenerep {

namespace {

// Indices 0 .. end - 1 by Morton code, given the order of the first `begin` of them.
void merge_layer(const Cell& cell, std::vector<int32_t>& order, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) order.push_back(static_cast<int32_t>(i));
  std::inplace_merge(order.begin(), order.begin() + begin, order.end(), [&](int32_t a, int32_t b) {
    return cell.codes[static_cast<size_t>(a)] < cell.codes[static_cast<size_t>(b)];
  });
}

void resize(Cell& cell, size_t n) {
  cell.values.resize(static_cast<size_t>(cell.components));
  cell.present.resize(static_cast<size_t>(cell.bands));
  for (auto& column : cell.values) column.resize(n);
  for (auto& column : cell.present) column.resize(n);
}

// The component at which SH band 1, 2, 3 begins; of 4, the end.
int first_of_band(int band) { return kBase + 3 * (band * band - 1); }

std::vector<uint64_t> sorted_codes(const Cell& cell, const std::vector<int32_t>& order) {
  std::vector<uint64_t> codes;
  codes.reserve(order.size());
  for (int32_t i : order) codes.push_back(cell.codes[static_cast<size_t>(i)]);
  return codes;
}

}  // namespace

std::vector<std::vector<Bytes>> encode_cell(const CellInput& input, float* bits) {
  Cell cell;
  cell.depth = input.depth;
  cell.components = input.components;
  const int k = (cell.components - kBase) / 3;
  cell.bands = k == 0 ? 0 : k == 3 ? 1 : k == 8 ? 2 : 3;
  const size_t width = static_cast<size_t>(input.components);
  resize(cell, input.n);
  for (size_t i = 0; i < input.n; i++)
    for (size_t c = 0; c < width; c++) cell.values[c][i] = input.values[i * width + c];
  for (int band = 1; band <= cell.bands; band++)
    for (int c = first_of_band(band); c < first_of_band(band + 1); c++)
      for (size_t i = 0; i < input.n; i++)
        if (cell.values[static_cast<size_t>(c)][i]) cell.present[static_cast<size_t>(band - 1)][i] = 1;
  cell.neighbours.resize(input.n);
  for (const int32_t* p = input.positions; p < input.positions + 3 * input.n; p += 3)
    cell.codes.push_back(morton(p[0], p[1], p[2]));
  int64_t begin = 0;
  for (size_t layer = 0; layer < input.counts.size(); layer++) {
    const int64_t end = begin + input.counts[layer];
    cell.layer.insert(cell.layer.end(), static_cast<size_t>(end - begin), static_cast<uint8_t>(layer));
    find_neighbours(cell, begin, end);
    begin = end;
  }
  AttributeCoder attributes(cell);
  attributes.choose_setups();
  OctreeModels octree;
  std::vector<std::vector<Bytes>> streams;
  std::vector<int32_t> order;
  begin = 0;
  for (int64_t count : input.counts) {
    const int64_t end = begin + count;
    streams.emplace_back();
    RangeEncoder geometry;
    std::vector<uint64_t> codes(cell.codes.begin() + begin, cell.codes.begin() + end);
    std::vector<float> cost(bits ? codes.size() : 0);
    code_octree(geometry, octree, cell.depth, sorted_codes(cell, order), count, codes, bits ? cost.data() : nullptr);
    for (size_t i = 0; i < cost.size(); i++) bits[(static_cast<size_t>(begin) + i) * kCosts] = cost[i];
    streams.back().push_back(geometry.finish());
    for (int stream = 1; stream <= 3 + cell.bands; stream++) {
      RangeEncoder coder;
      attributes.code(coder, stream, begin, end, begin == 0, bits);
      streams.back().push_back(coder.finish());
    }
    merge_layer(cell, order, begin, end);
    begin = end;
  }
  return streams;
}

CellFault decode_cell(const std::vector<std::vector<View>>& streams, const std::vector<int64_t>& counts,
                      const std::vector<int64_t>& layers, int depth, int bands, Cell& cell) {
  cell.depth = depth;
  cell.bands = bands;
  cell.components = kBase + 3 * ((bands + 1) * (bands + 1) - 1);
  size_t layer = 0;
  int stream = 0;
  try {
    AttributeCoder attributes(cell);
    OctreeModels octree;
    std::vector<int32_t> order;
    int64_t begin = 0;
    for (; layer < streams.size(); layer++) {
      stream = 0;
      const std::vector<View>& parts = streams[layer];
      RangeDecoder geometry(parts[0].first, parts[0].second);
      std::vector<uint64_t> codes;
      code_octree(geometry, octree, depth, sorted_codes(cell, order), counts[layer], codes, nullptr);
      cell.codes.insert(cell.codes.end(), codes.begin(), codes.end());
      const int64_t end = cell.size();
      cell.layer.resize(static_cast<size_t>(end), static_cast<uint8_t>(layers[layer]));
      resize(cell, static_cast<size_t>(end));
      cell.neighbours.resize(static_cast<size_t>(end));
      find_neighbours(cell, begin, end);
      for (stream = 1; stream < static_cast<int>(parts.size()); stream++) {
        const View& part = parts[static_cast<size_t>(stream)];
        RangeDecoder coder(part.first, part.second);
        attributes.code(coder, stream, begin, end, begin == 0, nullptr);
      }
      merge_layer(cell, order, begin, end);
      begin = end;
    }
  } catch (const CodingError& error) {
    return {layer, stream, error.what()};
  }
  return {};
}

}  // namespace scenerep
