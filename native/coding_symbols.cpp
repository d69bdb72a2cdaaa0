#include "coding_symbols.h"

namespace scenerep {

namespace {

int bits_of(int size) {
  int bits = 0;
  while (1 << bits < size) bits++;
  return bits;
}

// An index is coded bit by bit from the top, each bit by the bits above it: a tree whose nodes learn how often each side
// is taken, which comes to the probabilities of the indices. A second tree for each value of the highest three bits of
// the index before is mixed in.
class SymbolModel {
 public:
  SymbolModel(int size, bool optional)
      : size_(size), bits_(bits_of(size)), optional_(optional), tree_({1 << bits_, 8 << bits_}, bits_ ? bits_ : 1) {}

  template <class Coder>
  int code(Coder& coder, int symbol) {
    if (optional_) {
      const int present = presence_.code(coder, {recent_ & 7, recent_ & 255, 0}, 0, symbol >= 0);
      recent_ = recent_ << 1 | present;
      if (!present) return -1;
    }
    int node = 1;
    for (int k = bits_; k-- > 0;) {
      int bit = symbol >> k & 1;
      const int right = ((node << 1 | 1) - (2 << (bits_ - 1 - k))) << k;  // the smallest index below the right child
      if (right < size_) {
        bit = tree_.code(coder, {node, before_ << bits_ | node}, bits_ - 1 - k, bit);
      } else {
        bit = 0;
      }
      node = node << 1 | bit;
    }
    symbol = node - (1 << bits_);
    before_ = bits_ > 3 ? symbol >> (bits_ - 3) : symbol;
    return symbol;
  }

 private:
  int size_, bits_;
  bool optional_;
  int recent_ = 0, before_ = 0;
  BitModel<3> presence_{{8, 256, 1}, 1};
  BitModel<2> tree_;
};

template <class Coder>
void code_rows(Coder& coder, size_t n, int width, int32_t* values) {
  IntegerModel<1> model({width});
  for (size_t i = 0; i < n; i++)
    for (int j = 0; j < width; j++, values++) *values = model.code(coder, {j}, *values);
}

}  // namespace

Bytes encode_symbols(const int32_t* symbols, size_t n, int size, bool optional) {
  RangeEncoder coder;
  SymbolModel model(size, optional);
  for (size_t i = 0; i < n; i++) model.code(coder, symbols[i]);
  return coder.finish();
}

std::vector<int32_t> decode_symbols(View stream, size_t n, int size, bool optional) {
  RangeDecoder coder(stream.first, stream.second);
  SymbolModel model(size, optional);
  std::vector<int32_t> symbols(n);
  for (int32_t& symbol : symbols) symbol = model.code(coder, 0);
  return symbols;
}

Bytes encode_rows(const int32_t* values, size_t n, int width) {
  RangeEncoder coder;
  std::vector<int32_t> copy(values, values + n * static_cast<size_t>(width));
  code_rows(coder, n, width, copy.data());
  return coder.finish();
}

std::vector<int32_t> decode_rows(View stream, size_t n, int width) {
  RangeDecoder coder(stream.first, stream.second);
  std::vector<int32_t> values(n * static_cast<size_t>(width));
  code_rows(coder, n, width, values.data());
  return values;
}

}  // namespace scenerep
