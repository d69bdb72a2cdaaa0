// Positions on an integer grid as an octree, breadth first.
//
// A node with one point ends the subdivision: the rest of its coordinates follows as raw bits. Other nodes tell which
// of their eight children are occupied; a leaf that is not single tells its count. Contexts are the occupied face
// neighbours, the children coded before, and the points of the layers that are known already.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "coding_integer.h"
#include "coding_model.h"
#include "coding_range.h"

namespace scenerep {

using Point = std::array<int32_t, 3>;

// Bit 3 i + 2 is bit i of x, 3 i + 1 of y, 3 i of z; 20 bits per axis at most.
inline uint64_t spread_bits(uint32_t v) {
  uint64_t x = v & 0x1fffff;
  x = (x | x << 32) & 0x1f00000000ffffull;
  x = (x | x << 16) & 0x1f0000ff0000ffull;
  x = (x | x << 8) & 0x100f00f00f00f00full;
  x = (x | x << 4) & 0x10c30c30c30c30c3ull;
  return (x | x << 2) & 0x1249249249249249ull;
}
inline uint64_t morton(int32_t x, int32_t y, int32_t z) {
  return spread_bits(static_cast<uint32_t>(x)) << 2 | spread_bits(static_cast<uint32_t>(y)) << 1 |
         spread_bits(static_cast<uint32_t>(z));
}
inline uint32_t gather_bits(uint64_t x) {
  x &= 0x1249249249249249ull;
  x = (x | x >> 2) & 0x10c30c30c30c30c3ull;
  x = (x | x >> 4) & 0x100f00f00f00f00full;
  x = (x | x >> 8) & 0x1f0000ff0000ffull;
  x = (x | x >> 16) & 0x1f00000000ffffull;
  x = (x | x >> 32) & 0x1fffff;
  return static_cast<uint32_t>(x);
}
inline Point from_morton(uint64_t code) {
  return {static_cast<int32_t>(gather_bits(code >> 2)), static_cast<int32_t>(gather_bits(code >> 1)),
          static_cast<int32_t>(gather_bits(code))};
}

// Models of the octree; they live as long as a cell.
struct OctreeModels {
  BitModel<3> single{{8 * 4, 7 * 21, 4 * 8 * 3}, 4};
  BitModel<4> child{{256 * 7, 27 * 4 * 8, 4 * 3 * 9, 21 * 8}, 8};
  IntegerModel<1> count{{1}};
};

// Codes the points of one chunk. `lower`: sorted Morton codes of the points known already. `codes`: sorted Morton codes
// of the chunk's points, given (encoder) or filled in (decoder, which ends up with `count` of them). `bits`, if not
// null, gets the cost of each point.
template <class Coder>
void code_octree(Coder& coder, OctreeModels& models, int depth, const std::vector<uint64_t>& lower, int64_t count,
                 std::vector<uint64_t>& codes, float* bits);

}  // namespace scenerep
