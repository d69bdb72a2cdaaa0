// Stage 4: blending per tile, Gaussian by Gaussian, one register of pixels at a time.
#include <algorithm>

#include "splat_tile.h"

namespace scenerep {

namespace {

const UnitPixels kPixels;

struct TileState {
  // Transmittance; negative once the pixel has ended (its magnitude is the final value).
  alignas(64) float transmittance[kUnits][kUnitLanes];
  alignas(64) float colour[4][kUnits][kUnitLanes];
  alignas(64) float median[kUnits][kUnitLanes];
};

// Blocks of a tile that lie in the picture.
uint32_t blocks_inside(const View& view, int x0, int y0) {
  uint32_t mask = 0;
  for (int b = 0; b < 16; b++)
    if (x0 + 4 * (b & 3) < view.width && y0 + 4 * (b >> 2) < view.height) mask |= 1u << b;
  return mask;
}

template <int Channels, bool Median>
void blend_tile(Frame& frame, const Picture& out, int tile, TileState& state) {
  const View& view = frame.view;
  const int x0 = tile % view.tiles_x() * kTile, y0 = tile / view.tiles_x() * kTile;
  const uint32_t begin = frame.tile_start[tile], end = frame.tile_start[tile + 1];
  for (int u = 0; u < kUnits; u++) {
    store(state.transmittance[u], fu(1.0f));
    for (int c = 0; c < Channels; c++) store(state.colour[c][u], fu(0.0f));
    if (Median) store(state.median[u], fu(0.0f));
  }
  uint32_t alive = blocks_inside(view, x0, y0);
  uint32_t pair = begin;
  for (; pair < end && alive != 0; pair++) {
    const Record& r = frame.ranked[frame.pair_rank[pair]];
    if (pair + 4 < end) __builtin_prefetch(&frame.ranked[frame.pair_rank[pair + 4]]);
    UnitMask done = 0;
    const Exponent exponent(r, static_cast<float>(x0), static_cast<float>(y0));
    // Whole blocks, not units: to leave out half a block costs more in mispredicted branches than it saves here.
    for (uint32_t todo = frame.pair_blocks[pair] & alive; todo != 0; todo &= todo - 1) {
      const int block = __builtin_ctz(todo), first = block * kUnitsPerBlock;
      fu power[kUnitsPerBlock], before[kUnitsPerBlock];
      mu valid[kUnitsPerBlock];
      uint32_t used = 0;
      for (int i = 0; i < kUnitsPerBlock; i++) {
        const int unit = first + i;
        const fu dx = exponent.x + loadu(kPixels.x[unit]), dy = exponent.y + loadu(kPixels.y[unit]);
        power[i] = exponent.power(dx, dy);
        before[i] = loadu(state.transmittance[unit]);
        valid[i] = andnot(power[i] >= fu(kLogAlphaMin), sign(before[i]));
        used |= static_cast<uint32_t>(any(valid[i])) << i;
      }
      if (used == 0) continue;
      // Also where pixels only end: the backward pass must end them at the same place.
      done |= static_cast<UnitMask>(static_cast<UnitMask>(used) << first);
      uint32_t going = 0;
      for (int i = 0; i < kUnitsPerBlock; i++) {
        const int unit = first + i;
        const fu alpha = zero_unless(valid[i], min(exp2(power[i]), fu(kAlphaMax)));
        const fu after = fnma(alpha, before[i], before[i]);
        const mu goes_on = after > fu(kTransmittanceStop);
        const fu weight = zero_unless(goes_on, alpha * before[i]);
        for (int c = 0; c < Channels; c++)
          store(state.colour[c][unit], fma(weight, fu(r.colour[c]), loadu(state.colour[c][unit])));
        if (Median) {
          const mu half = (after < fu(0.5f)) & (before[i] >= fu(0.5f)) & goes_on;
          store(state.median[unit], select(half, fu(r.colour[3]), loadu(state.median[unit])));
        }
        store(state.transmittance[unit], select(goes_on, after, negative(before[i])));
        going |= bits(goes_on);
      }
      if (going == 0) alive &= ~(1u << block);
    }
    frame.pair_mask[pair] = done;
  }
  for (; pair < end; pair++) frame.pair_mask[pair] = 0;

  const int rows = std::min(kTile, view.height - y0), columns = std::min(kTile, view.width - x0);
  for (int y = 0; y < rows; y++) {
    for (int x = 0; x < columns; x++) {
      const int unit = unit_of(x, y), lane = lane_of(x, y);
      const int64_t pixel = static_cast<int64_t>(y0 + y) * view.width + x0 + x;
      const float t = state.transmittance[unit][lane], rest = t < 0 ? -t : t;
      for (int c = 0; c < out.channels; c++)
        out.colour[pixel * out.channels + c] = state.colour[c][unit][lane] + rest * out.background[c];
      if (out.alpha != nullptr) out.alpha[pixel] = 1.0f - rest;
      if (Channels == 4 && out.extra != nullptr) out.extra[pixel] = state.colour[3][unit][lane];
      if (Median) out.median[pixel] = state.median[unit][lane];
    }
  }
}

}  // namespace

void blend(Frame& frame, const Picture& picture) {
  for_each_tile(frame.view, [&](int64_t begin, int64_t end) {
    TileState state;
    for (int64_t t = begin; t < end; t++) {
      const int tile = static_cast<int>(t);
      if (picture.median != nullptr) {
        blend_tile<4, true>(frame, picture, tile, state);
      } else if (picture.channels == 4 || picture.extra != nullptr) {
        blend_tile<4, false>(frame, picture, tile, state);
      } else {
        blend_tile<3, false>(frame, picture, tile, state);
      }
    }
  });
}

int64_t count_contributions(Frame& frame) {
  const int tiles = frame.view.tiles_x() * frame.view.tiles_y();
  std::vector<int64_t> counts(tiles, 0);
  for_each_tile(frame.view, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int x0 = static_cast<int>(t) % frame.view.tiles_x() * kTile, y0 = static_cast<int>(t) / frame.view.tiles_x() * kTile;
      alignas(64) float transmittance[kUnits][kUnitLanes];
      for (auto& unit : transmittance) store(unit, fu(1.0f));
      for (uint32_t pair = frame.tile_start[t]; pair < frame.tile_start[t + 1]; pair++) {
        const Exponent exponent(frame.ranked[frame.pair_rank[pair]], static_cast<float>(x0), static_cast<float>(y0));
        for (UnitMask todo = frame.pair_mask[pair]; todo != 0; todo &= todo - 1) {
          const int unit = first_unit(todo);
          const fu dx = exponent.x + loadu(kPixels.x[unit]), dy = exponent.y + loadu(kPixels.y[unit]);
          const fu power = exponent.power(dx, dy), before = loadu(transmittance[unit]);
          const mu valid = power >= fu(kLogAlphaMin);
          const fu after = fnma(zero_unless(valid, min(exp2(power), fu(kAlphaMax))), before, before);
          const mu goes_on = after > fu(kTransmittanceStop);
          counts[t] += __builtin_popcount(bits(valid & goes_on));
          store(transmittance[unit], select(goes_on, after, negative(before)));
        }
      }
    }
  });
  int64_t total = 0;
  for (const int64_t c : counts) total += c;
  return total;
}

}  // namespace scenerep
