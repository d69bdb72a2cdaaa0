// A cell of a splat scene to byte streams and back.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "coding_attributes.h"

namespace scenerep {

using Bytes = std::vector<uint8_t>;
using View = std::pair<const uint8_t*, size_t>;

struct CellInput {
  const int32_t* positions;  // [n, 3], by layer, then by Morton code
  const int32_t* values;     // [n, components]
  size_t n;
  int components, depth;
  std::vector<int64_t> counts;  // Gaussians of each layer
};

// streams[layer][stream]. `bits` [n, kCosts] gets the costs if it is not null.
std::vector<std::vector<Bytes>> encode_cell(const CellInput& input, float* bits);

// Where a stream is broken, and how.
struct CellFault {
  size_t layer = 0;
  int stream = 0;
  std::string message;  // empty: none
};

// Fills the cell from the streams of its layers, whose numbers and counts are given. Streams that are left out at the
// end leave their components 0.
CellFault decode_cell(const std::vector<std::vector<View>>& streams, const std::vector<int64_t>& counts,
                      const std::vector<int64_t>& layers, int depth, int bands, Cell& cell);

}  // namespace scenerep
