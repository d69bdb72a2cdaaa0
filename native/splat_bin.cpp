// Stage 3: which 16x16 tiles each Gaussian touches, and which of their 4x4 blocks, by the exact ellipse alpha = 1/255.
#include <algorithm>

#include "pool.h"
#include "splat.h"

namespace scenerep {

namespace {

// Pixels added to every span: rounding must not lose a pixel on the boundary. A block too many only costs time.
constexpr float kSlack = 1e-3f;

// Columns of blocks [first, last] touched in each of sixteen rows of blocks, from row `row` on; last < first where a row
// is outside [row0, row1] or touches nothing.
SR_INLINE void block_spans(const Record& r, int row, int row0, int row1, int blocks_x, f16 lanes, int32_t* first,
                           int32_t* last) {
  // The band of pixel centres of a row, cut to the ellipse's height; offsets from the centre.
  const f16 rows = lanes + f16(static_cast<float>(row));
  const f16 low = fma(rows, f16(4.0f), f16(0.5f - r.y));
  const f16 high = low + f16(3.0f);
  const f16 ey = r.ey;
  const f16 from = max(low, -ey), to = min(high, ey);
  // The widest points of the ellipse in the band: its extreme points if they lie inside, else the nearer edge.
  const f16 right = min(max(f16(r.y_right), from), to), left = min(max(f16(-r.y_right), from), to);
  const f16 ur = right * f16(r.inverse_ey), ul = left * f16(r.inverse_ey);
  const f16 half = r.half_width, slope = r.slope, one = 1.0f, zero = 0.0f;
  const f16 x1 = fma(half, sqrt(max(fnma(ur, ur, one), zero)), fma(slope, right, f16(r.x + kSlack)));
  const f16 x0 = fnma(half, sqrt(max(fnma(ul, ul, one), zero)), fma(slope, left, f16(r.x - kSlack)));
  // Block column i holds the centres 4 i + 0.5 ... 4 i + 3.5. Cut to the picture before the conversion to integers.
  const f16 begin = max(-floor((f16(3.5f) - x0) * f16(0.25f)), zero);
  const f16 end = min(floor((x1 - f16(0.5f)) * f16(0.25f)), f16(static_cast<float>(blocks_x - 1)));
  const m16 used = (rows >= f16(static_cast<float>(row0))) & (rows <= f16(static_cast<float>(row1))) & (begin <= end);
  storei(first, to_int(select(used, begin, f16(1e6f))));
  storei(last, to_int(select(used, end, f16(-1.0f))));
}

SR_INLINE int floor_to_int(float x) {
  const int i = static_cast<int>(x);
  return i - (static_cast<float>(i) > x);
}

struct Emitter {
  uint64_t* out;
  uint32_t* histogram;
  int64_t count;
};

// One row of tiles from four rows of blocks.
SR_INLINE void emit_tile_row(Emitter& e, uint64_t rank, uint32_t row_start, const int32_t* first, const int32_t* last) {
  const int low = std::min(std::min(first[0], first[1]), std::min(first[2], first[3]));
  const int high = std::max(std::max(last[0], last[1]), std::max(last[2], last[3]));
  for (int tile = low >> 2; tile <= high >> 2; tile += 16) {  // 16 tiles of 4 blocks fill 64 bits
    uint64_t rows[4];
    for (int i = 0; i < 4; i++) {
      const int from = std::max(first[i] - 4 * tile, 0), to = std::min(last[i] - 4 * tile, 63);
      rows[i] = from <= to ? (uint64_t{2} << to) - (uint64_t{1} << from) : 0;
    }
    const int end = std::min(tile + 15, high >> 2);
    for (int t = tile; t <= end; t++) {
      const uint64_t mask = (rows[0] & 15) | (rows[1] & 15) << 4 | (rows[2] & 15) << 8 | (rows[3] & 15) << 12;
      for (auto& r : rows) r >>= 4;
      if (mask == 0) continue;
      const uint64_t index = row_start + static_cast<uint32_t>(t);
      e.out[e.count++] = rank << 36 | index << 16 | mask;
      e.histogram[index]++;
    }
  }
}

void emit_chunk(Frame& frame, int chunk) {
  const View& view = frame.view;
  const int tiles_x = view.tiles_x(), tiles = tiles_x * view.tiles_y();
  const int blocks_x = (view.width + kBlock - 1) / kBlock, blocks_y = (view.height + kBlock - 1) / kBlock;
  uint32_t* histogram = frame.histogram.data() + static_cast<size_t>(chunk) * tiles;
  std::fill(histogram, histogram + tiles, 0u);
  alignas(64) float lane_values[kLanes];
  for (int i = 0; i < kLanes; i++) lane_values[i] = static_cast<float>(i);
  const f16 lanes = load(lane_values);

  const int64_t begin = frame.visible * chunk / kBinChunks, end = frame.visible * (chunk + 1) / kBinChunks;
  Buffer<uint64_t>& buffer = frame.emitted[chunk];
  int64_t capacity = std::max<int64_t>(4 * (end - begin), 1024);
  Emitter e{buffer.ensure(capacity), histogram, 0};
  uint32_t* first_emission = frame.first.data();
  for (int64_t rank = begin; rank < end; rank++) {
    const Record& r = frame.ranked[rank];
    first_emission[rank] = static_cast<uint32_t>(e.count);  // within the chunk; the start is added later
    const float top = std::max(r.y - r.ey - kSlack, -16.0f);
    const float bottom = std::min(r.y + r.ey + kSlack, static_cast<float>(view.height) + 16.0f);
    const int row0 = std::max(-floor_to_int((3.5f - top) * 0.25f), 0);
    const int row1 = std::min(floor_to_int((bottom - 0.5f) * 0.25f), blocks_y - 1);
    if (row0 > row1) continue;
    // At most one pair a tile: room for the rows of this Gaussian.
    const int64_t most = static_cast<int64_t>((row1 >> 2) - (row0 >> 2) + 1) * tiles_x;
    if (e.count + most > capacity) {
      capacity = 2 * (e.count + most);
      e.out = buffer.extend(e.count, capacity);
    }
    for (int tile_row0 = row0 >> 2; tile_row0 <= row1 >> 2; tile_row0 += 4) {  // four rows of tiles, sixteen of blocks
      alignas(64) int32_t first[kLanes], last[kLanes];
      block_spans(r, 4 * tile_row0, row0, row1, blocks_x, lanes, first, last);
      const int rows = std::min(4, (row1 >> 2) - tile_row0 + 1);
      for (int t = 0; t < rows; t++)
        emit_tile_row(e, static_cast<uint64_t>(rank), static_cast<uint32_t>((tile_row0 + t) * tiles_x), first + 4 * t,
                      last + 4 * t);
    }
  }
  frame.emitted_count[chunk] = e.count;
}

}  // namespace

void bin(Frame& frame) {
  Pool& pool = Pool::instance();
  const int tiles = frame.view.tiles_x() * frame.view.tiles_y();
  frame.histogram.ensure(static_cast<size_t>(kBinChunks) * tiles);
  frame.first.ensure(frame.visible + 1);
  pool.parallel_for(kBinChunks, 1, [&](int64_t c, int64_t) { emit_chunk(frame, static_cast<int>(c)); });

  // Stable counting sort: position = pairs of earlier tiles, then of earlier chunks, then of earlier ranks.
  frame.emitted_start[0] = 0;
  for (int c = 0; c < kBinChunks; c++) frame.emitted_start[c + 1] = frame.emitted_start[c] + frame.emitted_count[c];
  frame.pairs = frame.emitted_start[kBinChunks];
  uint32_t* start = frame.tile_start.ensure(tiles + 1);
  uint32_t* histogram = frame.histogram.data();
  uint32_t total = 0;
  for (int t = 0; t < tiles; t++) {
    start[t] = total;
    for (int c = 0; c < kBinChunks; c++) {
      uint32_t& h = histogram[static_cast<size_t>(c) * tiles + t];
      const uint32_t here = h;
      h = total;
      total += here;
    }
  }
  start[tiles] = total;
  uint32_t* ranks = frame.pair_rank.ensure(frame.pairs + 1);
  UnitMask* masks = frame.pair_mask.ensure(frame.pairs + 1);
  uint32_t* slots = frame.slot.ensure(frame.pairs + 1);
  pool.parallel_for(kBinChunks, 1, [&](int64_t c, int64_t) {
    uint32_t* next = histogram + static_cast<size_t>(c) * tiles;
    const uint64_t* in = frame.emitted[c].data();
    const int64_t offset = frame.emitted_start[c];
    for (int64_t i = 0; i < frame.emitted_count[c]; i++) {
      const uint64_t e = in[i];
      const uint32_t to = next[e >> 16 & 0xfffff]++;
      ranks[to] = static_cast<uint32_t>(e >> 36);
      masks[to] = static_cast<uint16_t>(e);
      slots[offset + i] = to;
    }
    const int64_t begin = frame.visible * c / kBinChunks, end = frame.visible * (c + 1) / kBinChunks;
    for (int64_t r = begin; r < end; r++) frame.first[r] += static_cast<uint32_t>(offset);
  });
  frame.first[frame.visible] = static_cast<uint32_t>(frame.pairs);
}

}  // namespace scenerep
