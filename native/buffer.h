// Memory that grows and is kept between frames: fresh pages cost a fault each, every iteration.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace scenerep {

// Number and bytes of all allocations of buffers so far: what shows that a loop makes none.
struct Allocations {
  static inline std::atomic<int64_t> count{0}, bytes{0};
};

// Uninitialised, 64-byte aligned storage of plain values. `ensure` does not keep the content when it has to grow.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  ~Buffer() { std::free(data_); }

  T* ensure(size_t count) {
    if (count > capacity_) {
      std::free(data_);
      data_ = nullptr;
      capacity_ = 0;
      data_ = allocate(count + count / 4);
      capacity_ = count + count / 4;
    }
    return data_;
  }
  // Grows and keeps the first `used` values.
  T* extend(size_t used, size_t count) {
    if (count > capacity_) {
      T* bigger = allocate(2 * count);
      for (size_t i = 0; i < used; i++) bigger[i] = data_[i];
      std::free(data_);
      data_ = bigger;
      capacity_ = 2 * count;
    }
    return data_;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t bytes() const { return capacity_ * sizeof(T); }

 private:
  static T* allocate(size_t count) {
    constexpr size_t kHuge = size_t{2} << 20;
    size_t bytes = count * sizeof(T);
    const size_t alignment = bytes >= 2 * kHuge ? kHuge : 64;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    void* p = std::aligned_alloc(alignment, bytes);
    if (p == nullptr) throw std::bad_alloc();
    Allocations::count.fetch_add(1, std::memory_order_relaxed);
    Allocations::bytes.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
#if defined(__linux__)
    if (alignment == kHuge) madvise(p, bytes, MADV_HUGEPAGE);  // gradient slots are visited at random: fewer TLB misses
#endif
    return static_cast<T*>(p);
  }
  T* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace scenerep
