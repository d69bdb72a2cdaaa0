#include "coding_octree.h"

namespace scenerep {

namespace {

struct Node {
  uint64_t code;       // Morton code at the node's level
  int64_t begin, end;  // its points (encoder)
  int64_t lower_begin, lower_end;
  uint8_t siblings;    // occupied children of the parent
  bool multiple;       // known to hold two points or more
  int32_t parent;      // in the level above
};

// What the next level has to know of a node: which nodes of its level touch it, and its children.
struct Links {
  std::array<int32_t, 6> faces;  // -x, +x, -y, +y, -z, +z; -1: none
  int32_t first = 0;             // child, in the next level
  uint8_t occupied = 0;          // bits of the children

  // The child c, if it is there.
  int32_t child(int c) const { return occupied >> c & 1 ? first + __builtin_popcount(occupied & ((1u << c) - 1)) : -1; }
};

// The nodes that touch child c of a node.
std::array<int32_t, 6> faces_of(const std::vector<Links>& above, int32_t parent, int c) {
  const Links& own = above[static_cast<size_t>(parent)];
  std::array<int32_t, 6> faces;
  for (int f = 0; f < 6; f++) {
    const int mask = 4 >> f / 2;
    const bool within = !(c & mask) == (f % 2);
    const int32_t other = within ? parent : own.faces[static_cast<size_t>(f)];
    faces[static_cast<size_t>(f)] = other < 0 ? -1 : above[static_cast<size_t>(other)].child(c ^ mask);
  }
  return faces;
}

int capped(int64_t n, int most) { return n < most ? static_cast<int>(n) : most; }

}  // namespace

template <class Coder>
void code_octree(Coder& coder, OctreeModels& models, int depth, const std::vector<uint64_t>& lower, int64_t count,
                 std::vector<uint64_t>& codes, float* bits) {
  std::vector<Node> nodes, next;
  std::vector<Links> links, above;
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
  if (count > 0) nodes.push_back({0, 0, count, 0, static_cast<int64_t>(lower.size()), 1, count > 1, -1});
  for (int level = 0; level <= depth; level++) {
    const int shift = 3 * (depth - level);
    next.clear();
    links.assign(nodes.size(), {});
    for (size_t number = 0; number < nodes.size(); number++) {
      const Node node = nodes[number];
      Links& link = links[number];
      if (node.parent < 0)
        link.faces.fill(-1);
      else
        link.faces = faces_of(above, node.parent, static_cast<int>(node.code & 7));
      int faces = 0;
      for (int32_t face : link.faces) faces += face >= 0;
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
            const int32_t face = link.faces[static_cast<size_t>(f)];
            if (face >= 0) {
              state = 1;
              // Nodes on the lower side are coded already.
              if (!high && links[static_cast<size_t>(face)].occupied >> (c | mask) & 1) state = 2;
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
          children[coded++] = {child, begin, end, lower_begin, lower_end, 0, false, static_cast<int32_t>(number)};
          occupied |= 1 << c;
        }
        begin = end;
        lower_begin = lower_end;
      }
      charge(node);
      link.first = static_cast<int32_t>(next.size());
      link.occupied = static_cast<uint8_t>(occupied);
      for (int i = 0; i < coded; i++) {
        children[i].siblings = static_cast<uint8_t>(coded);
        children[i].multiple = coded == 1;
        next.push_back(children[i]);
      }
      if (static_cast<int64_t>(next.size()) > count) throw CodingError("more nodes than points");
    }
    std::swap(nodes, next);
    std::swap(links, above);
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
