#include "pool.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define SR_PAUSE() _mm_pause()
#else
#define SR_PAUSE() std::this_thread::yield()
#endif

namespace scenerep {

namespace {
// About 20 microseconds: long enough to bridge the gap between two stages of one frame, short enough not to hold a
// core that another program wants.
constexpr int kSpins = 2000;
}  // namespace

Pool& Pool::instance() {
  static Pool* pool = new Pool();  // never destroyed: joining threads from a static destructor can hang at exit
  return *pool;
}

Pool::~Pool() { resize(1); }

void Pool::resize(int threads) {
  if (threads < 1) threads = 1;
  std::lock_guard<std::mutex> one_at_a_time(run_mutex_);
  if (threads == size_) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& w : workers_) w.join();
  workers_.clear();
  stop_ = false;
  size_ = threads;
  const uint64_t generation = generation_.load();
  for (int t = 1; t < threads; t++) workers_.emplace_back([this, t, generation] { work(t, generation); });
}

void Pool::dispatch(void (*call)(void*, int), void* context) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    call_ = call;
    context_ = context;
    pending_.store(size_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  call(context, 0);
  for (int i = 0; i < kSpins && pending_.load(std::memory_order_acquire) != 0; i++) SR_PAUSE();
  if (pending_.load(std::memory_order_acquire) != 0) {
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [this] { return pending_.load(std::memory_order_acquire) == 0; });
  }
}

void Pool::work(int thread, uint64_t seen) {
  for (;;) {
    for (int i = 0; i < kSpins; i++) {
      if (generation_.load(std::memory_order_acquire) != seen || stop_) break;
      SR_PAUSE();
    }
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen || stop_; });
    }
    if (generation_.load(std::memory_order_acquire) == seen) return;  // only `stop_` can end the wait otherwise
    seen = generation_.load(std::memory_order_acquire);
    call_(context_, thread);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      std::lock_guard<std::mutex> lock(mutex_);
      finished_.notify_one();
    }
  }
}

}  // namespace scenerep
