// Stage 1: parameters to records. Stage 2: depth order.
#include <algorithm>
#include <cmath>

#include "pool.h"
#include "splat_math.h"

namespace scenerep {

namespace {

constexpr float kLargest = 3e38f;
constexpr float kLog2E = 1.4426950408889634f;
// log2(1 / kAlphaMin): a Gaussian reaches to where alpha = 1/255.
constexpr float kReach = 7.994353436858858f;


// Colours of the records that one chunk made, sixteen at a time.
void colours(const Parameters& p, const View& view, Record* records, int count) {
  const int active = p.active();
  const int stride = 3 * p.coefficients;
  for (int begin = 0; begin < count; begin += kLanes) {
    const int lanes = std::min(kLanes, count - begin);
    int64_t ids[kLanes];
    const float* rows[kLanes];
    for (int lane = 0; lane < kLanes; lane++) {
      ids[lane] = records[begin + std::min(lane, lanes - 1)].id;
      rows[lane] = p.sh + ids[lane] * stride;
    }
    f16 mean[3], sh[48], basis[kMaxCoefficients];
    load_rows<3>(p.means, ids, mean);
    load_wide_rows(rows, 3 * active, sh);
    f16 d[3];
    for (int i = 0; i < 3; i++) d[i] = mean[i] - f16(view.centre[i]);
    const f16 inverse = f16(1.0f) / sqrt(max(dot3(d, d), f16(1e-24f)));
    sh_basis(d[0] * inverse, d[1] * inverse, d[2] * inverse, active, basis);
    alignas(64) float out[3][kLanes];
    for (int c = 0; c < 3; c++) {
      f16 sum = 0.5f;
      for (int k = 0; k < active; k++) sum = fma(basis[k], sh[3 * k + c], sum);
      store(out[c], max(sum, f16(0.0f)));
    }
    for (int lane = 0; lane < lanes; lane++)
      for (int c = 0; c < 3; c++) records[begin + lane].colour[c] = out[c][lane];
  }
}

// Records of Gaussians [begin, end); returns how many are visible.
int project_chunk(const Parameters& p, const View& view, int64_t begin, int64_t end, Record* records, uint32_t* keys) {
  int count = 0;
  for (int64_t first = begin; first < end; first += kLanes) {
    const int lanes = static_cast<int>(std::min<int64_t>(kLanes, end - first));
    int64_t ids[kLanes];
    for (int lane = 0; lane < kLanes; lane++) ids[lane] = first + std::min(lane, lanes - 1);
    Projected g;
    project16(p, view, ids, g);

    const f16 opacity = g.opacity * g.compensation;
    const f16 z = g.local[2];
    m16 keep = (z >= f16(kNear)) & (z <= f16(kFar)) & (opacity >= f16(kAlphaMin)) & (g.determinant > f16(0.0f));
    // Written so that NaN and infinity fail: a covariance or a centre that float32 cannot hold is not drawn.
    keep = keep & (g.determinant <= f16(kLargest)) & (abs(g.x) <= f16(kLargest)) & (abs(g.y) <= f16(kLargest));
    if (lanes < kLanes) keep = keep & mask_from_bits((1u << lanes) - 1);
    if (!any(keep)) continue;

    // t = log2(255 o): the ellipse a dx^2 + b dx dy + c dy^2 = -t is where alpha = 1/255.
    alignas(64) float opacity_lane[kLanes], lo_lane[kLanes];
    store(opacity_lane, max(opacity, f16(1e-30f)));
    for (int lane = 0; lane < kLanes; lane++) lo_lane[lane] = std::log2(opacity_lane[lane]);
    const f16 lo = load(lo_lane);
    const f16 t = max(lo + f16(kReach), f16(0.0f));
    const f16 q = t * f16(2.0f / kLog2E);  // squared Mahalanobis radius
    const f16 ex = sqrt(q * g.cov_xx), ey = sqrt(q * g.cov_yy);
    // The rectangle around the ellipse must hold a pixel centre of the picture.
    const f16 half_pixel = 0.5f, zero = 0.0f;
    keep = keep & (max(-floor(ex - g.x + half_pixel), zero) <=
                   min(floor(g.x + ex - half_pixel), f16(static_cast<float>(view.width - 1))));
    keep = keep & (max(-floor(ey - g.y + half_pixel), zero) <=
                   min(floor(g.y + ey - half_pixel), f16(static_cast<float>(view.height - 1))));
    uint32_t visible = bits(keep);
    if (visible == 0) continue;

    const f16 a = f16(-0.5f * kLog2E) * g.cov_yy * g.inverse_determinant;
    const f16 b = f16(kLog2E) * g.cov_xy * g.inverse_determinant;
    const f16 c = f16(-0.5f * kLog2E) * g.cov_xx * g.inverse_determinant;
    const f16 inverse_yy = f16(1.0f) / g.cov_yy;
    alignas(64) float f[12][kLanes];
    store(f[0], g.x);
    store(f[1], g.y);
    store(f[2], a);
    store(f[3], b);
    store(f[4], c);
    store(f[5], z);
    store(f[6], ey);
    store(f[7], f16(1.0f) / max(ey, f16(1e-20f)));
    store(f[8], g.cov_xy * inverse_yy);                               // -b / (2 a)
    store(f[9], sqrt(q * g.determinant * inverse_yy));                // sqrt(t / -a)
    store(f[10], g.cov_xy * sqrt(q / max(g.cov_xx, f16(1e-20f))));    // dy of the rightmost point
    for (; visible != 0; visible &= visible - 1) {
      const int lane = __builtin_ctz(visible);
      Record& r = records[count];
      r.x = f[0][lane];
      r.y = f[1][lane];
      r.a = f[2][lane];
      r.b = f[3][lane];
      r.c = f[4][lane];
      r.lo = lo_lane[lane];
      r.colour[3] = f[5][lane];
      r.ey = f[6][lane];
      r.inverse_ey = f[7][lane];
      r.slope = f[8][lane];
      r.half_width = f[9][lane];
      r.y_right = f[10][lane];
      r.id = static_cast<int32_t>(first + lane);
      std::memcpy(&keys[count], &f[5][lane], 4);  // z > 0: its bits order like the number
      count++;
    }
  }
  return count;
}

}  // namespace

void project(Frame& frame) {
  const Parameters& p = frame.parameters;
  const int64_t chunks = (p.n + kProjectChunk - 1) / kProjectChunk;
  Record* records = frame.records.ensure(static_cast<size_t>(chunks) * kProjectChunk);
  uint32_t* keys = frame.keys[0].ensure(static_cast<size_t>(chunks) * kProjectChunk);
  frame.chunk_visible.resize(chunks);
  Pool::instance().parallel_for(chunks, 1, [&](int64_t c, int64_t) {
    Record* mine = records + c * kProjectChunk;
    const int64_t begin = c * kProjectChunk;
    const int count =
        project_chunk(p, frame.view, begin, std::min(p.n, begin + kProjectChunk), mine, keys + c * kProjectChunk);
    colours(p, frame.view, mine, count);
    frame.chunk_visible[c] = count;
  });
  frame.visible = 0;
  for (int64_t c = 0; c < chunks; c++) frame.visible += frame.chunk_visible[c];
}

// Stable radix sort by z, ties in order of the id. Least significant digit first, over the bits in which the keys
// differ; each thread counts and moves one contiguous part, so the order does not depend on their number.
void sort_by_depth(Frame& frame) {
  const int64_t n = frame.visible;
  const int64_t chunks = static_cast<int64_t>(frame.chunk_visible.size());
  Pool& pool = Pool::instance();
  uint32_t* keys = frame.keys[1].ensure(n + 1);
  uint32_t* order = frame.order[1].ensure(n + 1);
  uint32_t* source_keys = frame.keys[0].data();
  uint32_t* spare_order = frame.order[0].ensure(n + 1);

  std::vector<int64_t> start(chunks + 1, 0);
  for (int64_t c = 0; c < chunks; c++) start[c + 1] = start[c] + frame.chunk_visible[c];
  std::vector<uint32_t> low(chunks, 0xffffffffu), high(chunks, 0);
  pool.parallel_for(chunks, 16, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++) {
      for (int j = 0; j < frame.chunk_visible[c]; j++) {
        const uint32_t k = source_keys[c * kProjectChunk + j];
        low[c] = std::min(low[c], k);
        high[c] = std::max(high[c], k);
        keys[start[c] + j] = k;
        order[start[c] + j] = static_cast<uint32_t>(c * kProjectChunk + j);
      }
    }
  });
  uint32_t lowest = 0xffffffffu, highest = 0;
  for (int64_t c = 0; c < chunks; c++) {
    lowest = std::min(lowest, low[c]);
    highest = std::max(highest, high[c]);
  }
  const uint32_t range = n > 0 ? highest - lowest : 0;
  const int width = range == 0 ? 0 : 32 - __builtin_clz(range);
  const int passes = (width + 10) / 11;
  const int digit = passes == 0 ? 0 : (width + passes - 1) / passes;
  const int buckets = 1 << digit;
  const int parts = pool.size();
  std::vector<uint32_t> counts(static_cast<size_t>(parts) * buckets);
  uint32_t* spare_keys = source_keys;  // the chunked copy is not needed any more
  for (int pass = 0; pass < passes; pass++) {
    const int shift = pass * digit;
    auto bucket = [&](uint32_t key) { return (key - lowest) >> shift & (buckets - 1); };
    pool.parallel_for(parts, 1, [&](int64_t t, int64_t) {
      uint32_t* mine = counts.data() + static_cast<size_t>(t) * buckets;
      std::fill(mine, mine + buckets, 0u);
      for (int64_t i = n * t / parts; i < n * (t + 1) / parts; i++) mine[bucket(keys[i])]++;
    });
    uint32_t total = 0;
    for (int b = 0; b < buckets; b++)
      for (int t = 0; t < parts; t++) {
        uint32_t& slot = counts[static_cast<size_t>(t) * buckets + b];
        const uint32_t here = slot;
        slot = total;
        total += here;
      }
    pool.parallel_for(parts, 1, [&](int64_t t, int64_t) {
      uint32_t* mine = counts.data() + static_cast<size_t>(t) * buckets;
      for (int64_t i = n * t / parts; i < n * (t + 1) / parts; i++) {
        const uint32_t to = mine[bucket(keys[i])]++;
        spare_keys[to] = keys[i];
        spare_order[to] = order[i];
      }
    });
    std::swap(keys, spare_keys);
    std::swap(order, spare_order);
  }
  frame.sorted = order;

  Record* ranked = frame.ranked.ensure(n + 1);
  const Record* records = frame.records.data();
  pool.parallel_for(n, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      if (r + 8 < end) __builtin_prefetch(&records[order[r + 8]]);
      ranked[r] = records[order[r]];
    }
  });
}

}  // namespace scenerep
