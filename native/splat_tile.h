// A tile while it is blended: shared by the forward and the backward pass.
//
// The 4x4 blocks that binning marked are cut into units of one register each: whole blocks with AVX-512, halves of
// 4x2 pixels with AVX2, rows of four pixels with SSE2 and NEON. A unit that nothing contributes to costs nothing later.
#pragma once

#include "pool.h"
#include "splat.h"

namespace scenerep {

constexpr float kLogAlphaMin = -7.994353436858858f;  // log2(kAlphaMin)
constexpr float kLogAlphaMax = -0.0014434168696687174f;  // log2(kAlphaMax)

// Where pixel (x, y) of a tile lies: its unit and its lane there.
SR_INLINE int unit_of(int x, int y) {
  return ((y >> 2) * 4 + (x >> 2)) * kUnitsPerBlock + ((y & 3) * 4 + (x & 3)) / kUnitLanes;
}
SR_INLINE int lane_of(int x, int y) { return ((y & 3) * 4 + (x & 3)) % kUnitLanes; }

// Pixels of each unit, counted from the tile's corner.
struct UnitPixels {
  alignas(64) float x[kUnits][kUnitLanes], y[kUnits][kUnitLanes];
  UnitPixels() {
    for (int row = 0; row < kTile; row++)
      for (int column = 0; column < kTile; column++) {
        x[unit_of(column, row)][lane_of(column, row)] = static_cast<float>(column);
        y[unit_of(column, row)][lane_of(column, row)] = static_cast<float>(row);
      }
  }
};

// The exponent of one Gaussian at the pixels of a tile.
struct Exponent {
  fu x, y;  // from the Gaussian's centre to the tile's first pixel centre
  fu a, b, c, lo;

  SR_INLINE Exponent(const Record& r, float tile_x, float tile_y)
      : x(tile_x + 0.5f - r.x), y(tile_y + 0.5f - r.y), a(r.a), b(r.b), c(r.c), lo(r.lo) {}
  SR_INLINE fu power(fu dx, fu dy) const { return fma(dx, fma(a, dx, b * dy), fma(c * dy, dy, lo)); }
};

SR_INLINE int first_unit(UnitMask mask) {
  if constexpr (sizeof(UnitMask) == 8) return __builtin_ctzll(mask);
  return __builtin_ctz(static_cast<uint32_t>(mask));
}

template <class Body>
void for_each_tile(const View& view, Body&& body) {
  Pool::instance().parallel_for(static_cast<int64_t>(view.tiles_x()) * view.tiles_y(), 2, body);
}

}  // namespace scenerep
