#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "adam.h"
#include "pool.h"
#include "voxel.h"

namespace scenerep {
namespace {

constexpr int64_t kGroup = 32;  // rays of a task
constexpr float kFarthest = 1000.0f;  // in half sides of the inner box: beyond it a contracted ray has left the grid
constexpr float kLog2e = 1.4426950408889634f;
constexpr float kSh0 = 0.28209479177387814f, kSh1 = 0.4886025119029199f;

uint64_t mix(uint64_t x) {  // the finaliser of splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

// Of a ray's first sample, in steps.
float offset_of(bool jitter, uint64_t key, int64_t ray) {
  return jitter ? static_cast<float>(mix(key ^ static_cast<uint64_t>(ray)) >> 40) * 0x1p-24f : 0.5f;
}

SR_INLINE f16 logistic(f16 x) {
  const f16 bounded = max(min(x, f16(30.0f)), f16(-30.0f));
  return f16(1.0f) / (f16(1.0f) + exp2(-bounded * f16(kLog2e)));
}

// Vertices are visited at random in arrays far larger than the caches: what comes next is fetched ahead.
constexpr size_t kAhead = 8;

SR_INLINE void fetch_cell(const VoxelLevel& level, const float* array, int64_t base) {
  const int64_t row = level.n[0], layer = row * level.n[1];
  for (int64_t corner : {base, base + row, base + layer, base + layer + row}) {
    __builtin_prefetch(array + corner * kVoxelChannels);
    __builtin_prefetch(array + (corner + 1) * kVoxelChannels);
  }
}

// A sample on its way: where, before it is looked up.
struct Place {
  float t, g[3];  // distance on the ray; place in the grid, level 0
  float lod;
};

SR_INLINE f16 interpolate(const VoxelLevel& level, const float* g, int32_t* base, float* f) {
  int32_t i[3];
  for (int k = 0; k < 3; k++) {
    i[k] = std::min(std::max(static_cast<int32_t>(g[k]), 0), level.n[k] - 2);
    f[k] = std::min(std::max(g[k] - static_cast<float>(i[k]), 0.0f), 1.0f);
  }
  const int64_t row = level.n[0], layer = row * level.n[1];
  const int64_t b = i[2] * layer + i[1] * row + i[0];
  *base = static_cast<int32_t>(b);
  const float* p = level.p + b * kVoxelChannels;
  const int64_t dy = row * kVoxelChannels, dz = layer * kVoxelChannels;
  const float x1 = f[0], x0 = 1 - x1, y1 = f[1], y0 = 1 - y1, z1 = f[2], z0 = 1 - z1;
  const float a = y0 * z0, c = y1 * z0, d = y0 * z1, e = y1 * z1;
  f16 s = load(p) * f16(x0 * a);
  s = fma(load(p + kVoxelChannels), f16(x1 * a), s);
  s = fma(load(p + dy), f16(x0 * c), s);
  s = fma(load(p + dy + kVoxelChannels), f16(x1 * c), s);
  s = fma(load(p + dz), f16(x0 * d), s);
  s = fma(load(p + dz + kVoxelChannels), f16(x1 * d), s);
  s = fma(load(p + dz + dy), f16(x0 * e), s);
  s = fma(load(p + dz + dy + kVoxelChannels), f16(x1 * e), s);
  return s;
}

// Goes along one ray and hands out the places of its samples, empty cells left out.
class Walker {
 public:
  Walker(const VoxelSpace& space, const std::vector<VoxelLevel>& levels, const VoxelOccupancy& occupancy,
         const float* origin, const float* direction, float radius, float offset)
      : space_(space), level_(levels[0]), occupancy_(occupancy), radius_(radius) {
    extent_ = space.contracted ? 2.0f : 1.0f;
    float begin = space.near, end = 1e30f;
    for (int k = 0; k < 3; k++) {
      o_[k] = (origin[k] - space.centre[k]) * space.inverse_half[k];
      d_[k] = direction[k] * space.inverse_half[k];
      scale_[k] = static_cast<float>(level_.n[k] - 1) / (2.0f * extent_);
      if (!space.contracted) {
        const float inverse = 1.0f / (d_[k] == 0.0f ? 1e-20f : d_[k]);
        const float a = (-1.0f - o_[k]) * inverse, b = (1.0f - o_[k]) * inverse;
        begin = std::max(begin, std::min(a, b));
        end = std::min(end, std::max(a, b));
      }
    }
    t_ = begin;
    end_ = end;
    top_ = static_cast<float>(levels.size() - 1);
    for (int k = 0; k < 3; k++) blocks_[k] = (level_.n[k] - 1 + kBlock - 1) / kBlock;
    t_ += offset * space.step * stretch(t_);
  }

  // The next sample; false at the end of the ray.
  SR_INLINE bool next(Place& place) {
    for (;;) {
      if (!(t_ < end_)) return false;
      float u[3], m = 0.0f;
      for (int k = 0; k < 3; k++) {
        u[k] = o_[k] + t_ * d_[k];
        m = std::max(m, std::fabs(u[k]));
      }
      float stretch = 1.0f;
      if (m > 1.0f && space_.contracted) {
        if (m > kFarthest) return false;
        const float s = (2.0f - 1.0f / m) / m;
        for (float& x : u) x *= s;
        stretch = m * m;
      }
      int32_t cell[3];
      for (int k = 0; k < 3; k++) {
        place.g[k] = (u[k] + extent_) * scale_[k];
        cell[k] = std::min(std::max(static_cast<int32_t>(place.g[k]), 0), level_.n[k] - 2);
      }
      const float dt = space_.step * stretch;
      if (occupancy_.cells != nullptr) {
        const int64_t block =
            (int64_t{cell[2] / kBlock} * blocks_[1] + cell[1] / kBlock) * blocks_[0] + cell[0] / kBlock;
        if (!occupancy_.blocks[block]) {
          t_ += stretch == 1.0f ? dt * std::max(1.0f, std::ceil(leave(place.g, cell) / dt)) : dt;
          continue;
        }
        if (!occupancy_.cells[(int64_t{cell[2]} * level_.n[1] + cell[1]) * level_.n[0] + cell[0]]) {
          t_ += dt;
          continue;
        }
      }
      place.t = t_;
      place.lod = 0.0f;
      if (radius_ > 0.0f && top_ > 0.0f) {
        const float width = 2.0f * radius_ * t_ / (space_.voxel * stretch);
        place.lod = width > 1.0f ? std::min(std::log2(width), top_) : 0.0f;
      }
      t_ += dt;
      return true;
    }
  }

 private:
  float stretch(float t) const {
    if (!space_.contracted) return 1.0f;
    float m = 0.0f;
    for (int k = 0; k < 3; k++) m = std::max(m, std::fabs(o_[k] + t * d_[k]));
    return m > 1.0f ? m * m : 1.0f;
  }
  // Distance along the ray to the border of the block.
  float leave(const float* g, const int32_t* cell) const {
    float least = 1e30f;
    for (int k = 0; k < 3; k++) {
      const float rate = d_[k] * scale_[k], low = static_cast<float>(cell[k] / kBlock * kBlock);
      if (rate > 1e-12f) least = std::min(least, (low + kBlock - g[k]) / rate);
      if (rate < -1e-12f) least = std::min(least, (low - g[k]) / rate);
    }
    return least;
  }

  const VoxelSpace& space_;
  const VoxelLevel& level_;
  VoxelOccupancy occupancy_;
  float radius_, extent_, top_;
  float o_[3], d_[3], scale_[3];
  int32_t blocks_[3];
  float t_, end_;
};

}  // namespace

void VoxelMarcher::configure(const VoxelSpace& space, std::vector<VoxelLevel> levels, int features, int degree) {
  space_ = space;
  levels_ = std::move(levels);
  features_ = features;
  degree_ = degree;
  rays_ = 0;
}

int64_t VoxelMarcher::forward(const VoxelRays& rays, const VoxelOccupancy& occupancy, bool record, bool jitter,
                              uint64_t seed, float least_transmittance, float least_weight,
                              const VoxelOutputs& out) {
  const int64_t count = (rays.n + kGroup - 1) / kGroup;
  if (record) {
    rays_ = rays.n;
    if (static_cast<int64_t>(groups_.size()) < count) groups_.resize(count);
  }
  const bool sh = degree_ >= 0;
  const uint64_t key = mix(seed);
  std::atomic<int64_t> total{0};
  Pool::instance().parallel_for(count, 1, [&](int64_t first, int64_t last) {
    int64_t samples = 0;
    for (int64_t index = first; index < last; index++) {
      Group* group = record ? &groups_[index] : nullptr;
      if (group != nullptr) group->samples.clear(), group->ends.clear(), group->ends_after.clear(), group->basis.clear();
      for (int64_t r = index * kGroup; r < std::min(rays.n, (index + 1) * kGroup); r++) {
        const float* d = rays.directions + 3 * r;
        const float basis[4] = {kSh0, -kSh1 * d[1], kSh1 * d[2], -kSh1 * d[0]};
        alignas(64) float spread[kVoxelChannels] = {1.0f};
        for (int c = 0; c < 3; c++)
          for (int k = 0; k < 4 && sh; k++) spread[1 + 3 * k + c] = k == 0 || degree_ > 0 ? basis[k] : 0.0f;
        const f16 times = load(spread);
        Walker walker(space_, levels_, occupancy, rays.origins + 3 * r, d, rays.radii ? rays.radii[r] : 0.0f,
                      offset_of(jitter, key, r));
        float transmittance = 1.0f, sum[kMaxFeatures] = {}, depth = 0.0f, median = 0.0f;
        bool more = true;
        while (more && transmittance > least_transmittance) {
          Place places[kLanes];
          int n = 0;
          while (n < kLanes && (more = walker.next(places[n]))) {
            const VoxelLevel& level = levels_[0];
            if (places[n].lod < 1.0f) {
              int64_t i[3];
              for (int k = 0; k < 3; k++)
                i[k] = std::min(std::max(static_cast<int32_t>(places[n].g[k]), 0), level.n[k] - 2);
              fetch_cell(level, level.p, (i[2] * level.n[1] + i[1]) * level.n[0] + i[0]);
            }
            n++;
          }
          if (n == 0) break;
          alignas(64) float raw[kLanes] = {}, pre[kMaxFeatures][kLanes] = {}, value[kVoxelChannels];
          VoxelSample kept[kLanes];
          for (int i = 0; i < n; i++) {
            VoxelSample& s = kept[i];
            s.level = static_cast<int32_t>(places[i].lod);
            s.share = places[i].lod - static_cast<float>(s.level);
            s.base[1] = -1;
            f16 v = f16(0.0f);
            for (int side = 0; side < (s.share > 0.0f ? 2 : 1); side++) {
              const VoxelLevel& level = levels_[s.level + side];
              float g[3];
              for (int k = 0; k < 3; k++)
                g[k] = places[i].g[k] * static_cast<float>(level.n[k] - 1) / static_cast<float>(levels_[0].n[k] - 1);
              const f16 found = interpolate(level, g, &s.base[side], s.f[side]);
              v = s.share > 0.0f ? fma(found, f16(side ? s.share : 1.0f - s.share), v) : found;
            }
            if (sh) {
              store(value, v * times);
              raw[i] = value[0];
              for (int c = 0; c < 3; c++) pre[c][i] = (value[1 + c] + value[4 + c]) + (value[7 + c] + value[10 + c]);
            } else {
              store(value, v);
              raw[i] = value[0];
              for (int c = 0; c < features_; c++) pre[c][i] = value[1 + c];
            }
          }
          // Density: exp(x) below 0, 1 + x above (positive, smooth, and linear where it is large).
          const f16 x = min(load(raw) + f16(space_.shift), f16(1e4f));
          const f16 e = exp2(max(min(x, f16(0.0f)), f16(-80.0f)) * f16(kLog2e));
          const f16 density = e + max(x, f16(0.0f));
          alignas(64) float passed[kLanes], slope[kLanes], colour[kMaxFeatures][kLanes];
          store(passed, exp2(max(-density * f16(space_.tau * kLog2e), f16(-100.0f))));
          store(slope, e);
          for (int c = 0; c < features_; c++) store(colour[c], logistic(load(pre[c])));
          int used = 0;
          for (; used < n && transmittance > least_transmittance; used++) {
            const float after = transmittance * passed[used], weight = transmittance - after;
            for (int c = 0; c < features_; c++) sum[c] += weight * colour[c][used];
            depth += weight * places[used].t;
            if (transmittance >= 0.5f && after < 0.5f) median = places[used].t;
            transmittance = after;
            if (group != nullptr && weight >= least_weight) {
              VoxelSample& s = kept[used];
              s.slope = slope[used];
              s.after = after;
              s.weight = weight;
              for (int c = 0; c < features_; c++) s.colour[c] = colour[c][used];
              group->samples.push_back(s);
            }
          }
          samples += used;
        }
        for (int c = 0; c < features_; c++) out.features[r * features_ + c] = sum[c];
        out.alpha[r] = 1.0f - transmittance;
        if (out.depth != nullptr) out.depth[r] = transmittance < 1.0f ? depth / (1.0f - transmittance) : 0.0f;
        if (out.median != nullptr) out.median[r] = median;
        if (group != nullptr) {
          group->ends.push_back(static_cast<int32_t>(group->samples.size()));
          group->ends_after.push_back(transmittance);
          group->basis.insert(group->basis.end(), basis, basis + 4);
        }
      }
    }
    total += samples;
  });
  return total;
}

int64_t VoxelMarcher::places(const VoxelRays& rays, const VoxelOccupancy& occupancy, bool jitter, uint64_t seed,
                             int64_t* ends, float* t) {
  const uint64_t key = mix(seed);
  Pool::instance().parallel_for(rays.n, kGroup, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      Walker walker(space_, levels_, occupancy, rays.origins + 3 * r, rays.directions + 3 * r, 0.0f,
                    offset_of(jitter, key, r));
      Place place;
      int64_t count = 0;
      float* to = t == nullptr || r == 0 ? t : t + ends[r - 1];
      while (walker.next(place)) {
        if (to != nullptr) to[count] = place.t;
        count++;
      }
      if (t == nullptr) ends[r] = count;
    }
  });
  if (t == nullptr)
    for (int64_t r = 1; r < rays.n; r++) ends[r] += ends[r - 1];
  return rays.n > 0 ? ends[rays.n - 1] : 0;
}

void VoxelMarcher::backward(const float* d_features, const float* d_alpha) {
  const int64_t count = (rays_ + kGroup - 1) / kGroup;
  const bool sh = degree_ >= 0;
  slabs_ = std::min(32, 4 * Pool::instance().size());
  Pool::instance().parallel_for(count, 1, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; index++) {
      Group& group = groups_[index];
      group.records.clear();
      group.of_slab.resize(std::max<size_t>(group.of_slab.size(), slabs_));
      for (auto& list : group.of_slab) list.clear();
      for (size_t local = 0; local < group.ends.size(); local++) {
        const int64_t r = index * kGroup + static_cast<int64_t>(local);
        const float *g = d_features + r * features_, *basis = &group.basis[4 * local];
        // What lies behind a sample: sum of weight x colour . g, and the background through alpha = 1 - transmittance.
        float behind = -group.ends_after[local] * d_alpha[r];
        const int begin = local == 0 ? 0 : group.ends[local - 1];
        for (int i = group.ends[local] - 1; i >= begin; i--) {
          const VoxelSample& s = group.samples[i];
          float own = 0.0f;
          for (int c = 0; c < features_; c++) own += s.colour[c] * g[c];
          VoxelRecord record;
          std::memset(&record, 0, sizeof record);
          record.gradient[0] = (s.after * own - behind) * space_.tau * s.slope;
          behind += s.weight * own;
          for (int c = 0; c < features_; c++) {
            const float to_pre = s.weight * g[c] * s.colour[c] * (1.0f - s.colour[c]);
            if (!sh) record.gradient[1 + c] = to_pre;
            for (int k = 0; k < (degree_ > 0 ? 4 : 1) && sh; k++) record.gradient[1 + 3 * k + c] = to_pre * basis[k];
          }
          for (int side = 0; side < (s.base[1] >= 0 ? 2 : 1); side++) {
            VoxelRecord one = record;
            if (s.base[1] >= 0)
              store(one.gradient, load(record.gradient) * f16(side ? s.share : 1.0f - s.share));
            const VoxelLevel& level = levels_[s.level + side];
            one.base = s.base[side];
            one.level = s.level + side;
            one.z = s.base[side] / (level.n[0] * level.n[1]);
            std::memcpy(one.f, s.f[side], sizeof one.f);
            const uint32_t entry = static_cast<uint32_t>(group.records.size()) << 2;
            const int lower = slab_of(one.z), upper = slab_of(one.z + 1);
            group.of_slab[lower].push_back(entry | (lower == upper ? 3u : 1u));
            if (upper != lower) group.of_slab[upper].push_back(entry | 2u);
            group.records.push_back(one);
          }
        }
      }
    }
  });
}

// Adds all records to the vertices of one slab. Samples that follow each other in one cell are summed up before.
template <class F>
void VoxelMarcher::scatter(int slab, F&& touched) {
  const int64_t count = (rays_ + kGroup - 1) / kGroup;
  f16 sums[8];
  int32_t base = -1, at = -1;
  uint32_t layers = 0;
  auto flush = [&]() {
    if (base < 0) return;
    const VoxelLevel& level = levels_[at];
    const int64_t row = level.n[0], layer = row * level.n[1];
    for (int corner = 0; corner < 8; corner++) {
      if (!(layers >> (corner >> 2) & 1)) continue;
      const int64_t vertex = base + (corner >> 2) * layer + (corner >> 1 & 1) * row + (corner & 1);
      float* g = level.g + vertex * kVoxelChannels;
      store(g, load(g) + sums[corner]);
      touched(at, vertex);
    }
  };
  for (int64_t index = 0; index < count; index++) {
    const std::vector<VoxelRecord>& records = groups_[index].records;
    const std::vector<uint32_t>& list = groups_[index].of_slab[slab];
    for (size_t i = 0; i < list.size(); i++) {
      if (i + kAhead < list.size()) {
        const VoxelRecord& coming = records[list[i + kAhead] >> 2];
        fetch_cell(levels_[coming.level], levels_[coming.level].g, coming.base);
      }
      const VoxelRecord& record = records[list[i] >> 2];
      if (record.base != base || record.level != at) {
        flush();
        base = record.base;
        at = record.level;
        layers = list[i] & 3;
        for (f16& sum : sums) sum = f16(0.0f);
      }
      const f16 gradient = load(record.gradient);
      const float x1 = record.f[0], x0 = 1 - x1, y1 = record.f[1], y0 = 1 - y1, z1 = record.f[2], z0 = 1 - z1;
      const float edges[4] = {y0 * z0, y1 * z0, y0 * z1, y1 * z1};
      for (int edge = 0; edge < 4; edge++) {
        sums[2 * edge] = fma(gradient, f16(x0 * edges[edge]), sums[2 * edge]);
        sums[2 * edge + 1] = fma(gradient, f16(x1 * edges[edge]), sums[2 * edge + 1]);
      }
    }
  }
  flush();
}

void VoxelMarcher::accumulate() {
  Pool::instance().parallel_for(slabs_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slab = begin; slab < end; slab++) scatter(static_cast<int>(slab), [](int, int64_t) {});
  });
}

int64_t VoxelMarcher::apply(const float* rates, const float* smooth, float sparsity, double beta1, double beta2, double eps,
                            int64_t step) {
  const int n = slabs_;
  if (static_cast<int>(touched_.size()) < n) touched_.resize(n);
  Pool::instance().parallel_for(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slab = begin; slab < end; slab++) {
      auto& list = touched_[slab];
      list.clear();
      scatter(static_cast<int>(slab), [&](int level, int64_t vertex) {
        float& stamp = levels_[level].g[vertex * kVoxelChannels + kStamp];
        if (stamp != static_cast<float>(step)) {
          stamp = static_cast<float>(step);
          list.emplace_back(level, vertex);
        }
      });
    }
  });
  alignas(64) float weights[kVoxelChannels];
  std::memcpy(weights, smooth, sizeof weights);
  bool any_smooth = false;
  for (float w : weights) any_smooth |= w != 0.0f;
  if (any_smooth) {
    // Reads parameters and adds to gradients, so it has to be done before any parameter moves.
    const f16 weight = load(weights);
    Pool::instance().parallel_for(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slab = begin; slab < end; slab++)
        for (size_t entry = 0; entry < touched_[slab].size(); entry++) {
          const auto [which, vertex] = touched_[slab][entry];
          if (entry + kAhead < touched_[slab].size()) {
            const auto [level, coming] = touched_[slab][entry + kAhead];
            const float* p = levels_[level].p + coming * kVoxelChannels;
            const int64_t row = levels_[level].n[0] * int64_t{kVoxelChannels}, layer = row * levels_[level].n[1];
            const float* last = levels_[level].p + (levels_[level].count() - 1) * kVoxelChannels;
            for (const float* q : {p - layer, p - row, p, p + row, p + layer})
              if (q >= levels_[level].p && q <= last) __builtin_prefetch(q);
          }
          const VoxelLevel& level = levels_[which];
          const int64_t stride[3] = {1, level.n[0], int64_t{level.n[0]} * level.n[1]};
          const int64_t at[3] = {vertex % level.n[0], vertex / stride[1] % level.n[1], vertex / stride[2]};
          const float* p = level.p + vertex * kVoxelChannels;
          f16 apart = f16(0.0f);
          for (int k = 0; k < 3; k++) {
            if (at[k] > 0) apart = apart + (load(p) - load(p - stride[k] * kVoxelChannels));
            if (at[k] + 1 < level.n[k]) apart = apart + (load(p) - load(p + stride[k] * kVoxelChannels));
          }
          float* g = level.g + vertex * kVoxelChannels;
          store(g, fma(apart, weight, load(g)));
        }
    });
  }
  const AdamConstants adam(beta1, beta2, eps, step);
  alignas(64) float steps[kVoxelChannels];
  for (int c = 0; c < kVoxelChannels; c++) steps[c] = static_cast<float>(rates[c] / adam.mean_correction);
  const f16 rate = load(steps);
  int64_t touched = 0;
  for (int slab = 0; slab < n; slab++) touched += static_cast<int64_t>(touched_[slab].size());
  Pool::instance().parallel_for(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slab = begin; slab < end; slab++)
      for (size_t entry = 0; entry < touched_[slab].size(); entry++) {
        const auto [which, vertex] = touched_[slab][entry];
        if (entry + kAhead < touched_[slab].size()) {
          const auto [coming, at] = touched_[slab][entry + kAhead];
          for (const float* array : {levels_[coming].p, levels_[coming].g, levels_[coming].m, levels_[coming].v})
            __builtin_prefetch(array + at * kVoxelChannels, 1);
          __builtin_prefetch(levels_[coming].marks + at, 1);
        }
        const VoxelLevel& level = levels_[which];
        const int64_t i = vertex * kVoxelChannels;
        level.g[i + kStamp] = 0.0f;
        if (sparsity != 0.0f) level.g[i] += sparsity * std::exp(std::min(level.p[i] + space_.shift, 0.0f));
        adam_at(adam, {level.p, level.g, level.m, level.v}, i, rate);
        store(level.g + i, f16(0.0f));
        level.g[i + kStamp] = static_cast<float>(step);
        level.marks[vertex] = level.p[i] >= space_.dense ? kTouched | kDense : kTouched;
      }
  });
  return touched;
}

}  // namespace scenerep
