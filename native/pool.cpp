#include "pool.h"

#include <utility>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define SR_PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define SR_PAUSE() asm volatile("isb" ::: "memory")  // `yield` ends at once on most cores; this takes tens of cycles
#else
#define SR_PAUSE() std::this_thread::yield()
#endif

namespace scenerep {

namespace {
// About 20 microseconds: long enough to bridge the gap between two stages of one frame, short enough not to hold a
// core that another program wants.
constexpr int kSpins = 2000;
// Of `state_`: threads inside the task (below kOpen), whether more may come in, and the task's number.
constexpr uint64_t kOpen = uint64_t{1} << 15;
constexpr uint64_t kGeneration = uint64_t{1} << 16;
}  // namespace

Pool& Pool::instance() {
  static Pool* pool = new Pool();  // never destroyed: joining threads from a static destructor can hang at exit
  return *pool;
}

Pool::~Pool() { resize(1); }

void Pool::resize(int threads) {
  threads = threads < 1 ? 1 : threads > kMaxThreads ? kMaxThreads : threads;
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
  const uint64_t generation = state_.load() / kGeneration;
  for (int t = 1; t < threads; t++) workers_.emplace_back([this, t, generation] { work(t, generation); });
}

void Pool::dispatch(void (*call)(void*, int), void* context) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    call_ = call;
    context_ = context;
    state_.store(((state_.load(std::memory_order_relaxed) / kGeneration + 1) * kGeneration) | kOpen,
                 std::memory_order_release);
  }
  wake_.notify_all();
  attempt(call, context, 0);
  // Workers that have not come by now are not waited for: on a busy machine that may take a scheduler's time slice.
  uint64_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int i = 0; i < kSpins && state % kOpen != 0; i++) {
    SR_PAUSE();
    state = state_.load(std::memory_order_acquire);
  }
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [this] { return state_.load(std::memory_order_acquire) % kOpen == 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Pool::attempt(void (*call)(void*, int), void* context, int thread) {
  try {
    call(context, thread);
  } catch (...) {  // most likely out of memory; the caller of run() is told
    std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void Pool::work(int thread, uint64_t seen) {
  auto ready = [&] {
    const uint64_t state = state_.load(std::memory_order_acquire);
    return stop_ || ((state & kOpen) != 0 && state / kGeneration != seen);
  };
  for (;;) {
    for (int i = 0; i < kSpins && !ready(); i++) SR_PAUSE();
    if (!ready()) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, ready);
    }
    if (stop_) return;
    uint64_t state = state_.load(std::memory_order_acquire);
    if ((state & kOpen) == 0 || !state_.compare_exchange_strong(state, state + 1, std::memory_order_acq_rel)) continue;
    seen = state / kGeneration;
    attempt(call_, context_, thread);
    state = state_.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if (state % kGeneration == 0) {  // closed, and nobody left
      std::lock_guard<std::mutex> lock(mutex_);
      finished_.notify_one();
    }
  }
}

}  // namespace scenerep
