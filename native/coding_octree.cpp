#include "coding_octree.h"

namespace scenerep {

void CodeSet::clear(size_t expected) {
  size_t size = 64;
  while (size < 2 * expected) size *= 2;
  table_.assign(size, kEmpty);
  mask_ = size - 1;
  count_ = 0;
}

void CodeSet::insert(uint64_t code) {
  if (2 * (count_ + 1) > table_.size()) {
    std::vector<uint64_t> old = std::move(table_);
    clear(old.size());
    for (uint64_t entry : old)
      if (entry != kEmpty) insert(entry);
  }
  for (size_t i = hash(code) & mask_;; i = (i + 1) & mask_) {
    if (table_[i] == code) return;
    if (table_[i] == kEmpty) {
      table_[i] = code;
      count_++;
      return;
    }
  }
}

namespace {

struct Node {
  uint64_t code;       // Morton code at the node's level
  int64_t begin, end;  // its points (encoder)
  int64_t lower_begin, lower_end;
  uint8_t siblings;    // occupied children of the parent
  bool multiple;       // known to hold two points or more
};

int capped(int64_t n, int most) { return n < most ? static_cast<int>(n) : most; }

}  // namespace

template <class Coder>
void code_octree(Coder& coder, OctreeModels& models, int depth, const std::vector<uint64_t>& lower, int64_t count,
                 std::vector<uint64_t>& codes, float* bits) {
  std::vector<Node> nodes, next;
  CodeSet here, below;
  std::vector<uint64_t> decoded;
  // Cost of a node is shared by its points: differences now, summed up at the end.
  std::vector<double> change(bits && !Coder::kDecodes ? static_cast<size_t>(count) + 1 : 0);
  auto charge = [&](const Node& node) {
    const float cost = coder.take_cost();
    if (change.empty()) return;
    const double each = cost / static_cast<double>(node.end - node.begin);
    change[static_cast<size_t>(node.begin)] += each;
    change[static_cast<size_t>(node.end)] -= each;
  };
  auto keep = [&](uint64_t code, int64_t times) {
    if constexpr (Coder::kDecodes) {
      if (static_cast<int64_t>(decoded.size()) + times > count) throw CodingError("more points than announced");
      decoded.insert(decoded.end(), static_cast<size_t>(times), code);
    }
  };
  if (count > 0) nodes.push_back({0, 0, count, 0, static_cast<int64_t>(lower.size()), 1, count > 1});
  here.clear(1);
  here.insert(0);
  for (int level = 0; level <= depth; level++) {
    const int shift = 3 * (depth - level);
    const int32_t side = 1 << level;
    next.clear();
    below.clear(std::min<size_t>(8 * nodes.size(), static_cast<size_t>(count)));
    for (Node& node : nodes) {
      const Point at = from_morton(node.code);
      // Face neighbours: -x, +x, -y, +y, -z, +z.
      bool face[6];
      uint64_t face_code[6];
      int faces = 0;
      for (int f = 0; f < 6; f++) {
        Point p = at;
        p[f / 2] += f % 2 ? 1 : -1;
        const bool inside = p[f / 2] >= 0 && p[f / 2] < side;
        face_code[f] = inside ? morton(p[0], p[1], p[2]) : 0;
        face[f] = inside && here.contains(face_code[f]);
        faces += face[f];
      }
      const int64_t known = node.lower_end - node.lower_begin;
      const int known_class = capped(known, 3);
      if (!node.multiple) {
        const int single =
            models.single.code(coder, {(node.siblings - 1) * 4 + known_class, faces * 21 + level,
                                       (known_class * 8 + node.siblings - 1) * 3 + (faces > 2 ? 2 : faces > 0)},
                               known_class, node.end - node.begin == 1);
        if (single) {
          uint64_t rest = Coder::kDecodes ? 0 : codes[static_cast<size_t>(node.begin)] & ((1ull << shift) - 1);
          uint64_t read = 0;
          for (int left = shift; left > 0;) {
            const int take = left >= 6 ? 6 : left;
            left -= take;
            read = read << take | coder.raw(static_cast<uint32_t>(rest >> left) & ((1u << take) - 1), take);
          }
          keep(node.code << shift | read, 1);
          charge(node);
          continue;
        }
      }
      if (level == depth) {
        const int more = models.count.code(coder, {0}, Coder::kDecodes ? 0 : static_cast<int>(node.end - node.begin - 2));
        if (more < 0) throw CodingError("a negative count");
        keep(node.code, static_cast<int64_t>(more) + 2);
        charge(node);
        continue;
      }
      int occupied = 0, coded = 0;  // bits of the children; how many are occupied
      int64_t begin = node.begin, lower_begin = node.lower_begin;
      Node children[8];
      for (int c = 0; c < 8; c++) {
        const uint64_t child = node.code << 3 | static_cast<uint64_t>(c);
        const uint64_t limit = (child + 1) << (shift - 3);
        int64_t end = begin, lower_end = lower_begin;
        if constexpr (!Coder::kDecodes)
          while (end < node.end && codes[static_cast<size_t>(end)] < limit) end++;
        while (lower_end < node.lower_end && lower[static_cast<size_t>(lower_end)] < limit) lower_end++;
        int bit = end > begin;
        if (c < 7 || occupied) {
          // What touches the child from outside: nothing, perhaps something, something.
          int outside = 0, inside = 0;
          for (int axis = 0; axis < 3; axis++) {
            const int mask = 4 >> axis;
            const bool high = c & mask;
            const int f = 2 * axis + high;
            int state = 0;
            if (face[f]) {
              state = 1;
              if (!high && below.contains(face_code[f] << 3 | static_cast<uint64_t>(c | mask))) state = 2;
            }
            outside = 3 * outside + state;
            if (high) inside += occupied >> (c ^ mask) & 1;
          }
          const int known_child = capped(lower_end - lower_begin, 2);
          bit = models.child.code(coder,
                                  {(occupied | 1 << c) * 7 + faces, (outside * 4 + inside) * 8 + c,
                                   (known_class * 3 + known_child) * 9 + coded, level * 8 + coded},
                                  c, bit);
        } else {
          bit = 1;
        }
        if (bit) {
          children[coded++] = {child, begin, end, lower_begin, lower_end, 0, false};
          occupied |= 1 << c;
        }
        begin = end;
        lower_begin = lower_end;
      }
      charge(node);
      for (int i = 0; i < coded; i++) {
        children[i].siblings = static_cast<uint8_t>(coded);
        children[i].multiple = coded == 1;
        below.insert(children[i].code);
        next.push_back(children[i]);
      }
      if (static_cast<int64_t>(next.size()) > count) throw CodingError("more nodes than points");
    }
    std::swap(nodes, next);
    std::swap(here, below);
  }
  if constexpr (Coder::kDecodes) {
    if (static_cast<int64_t>(decoded.size()) != count) throw CodingError("fewer points than announced");
    std::sort(decoded.begin(), decoded.end());
    codes = std::move(decoded);
  }
  if (!change.empty()) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) bits[i] = static_cast<float>(sum += change[static_cast<size_t>(i)]);
  }
}

template void code_octree(RangeEncoder&, OctreeModels&, int, const std::vector<uint64_t>&, int64_t,
                          std::vector<uint64_t>&, float*);
template void code_octree(RangeDecoder&, OctreeModels&, int, const std::vector<uint64_t>&, int64_t,
                          std::vector<uint64_t>&, float*);

}  // namespace scenerep
