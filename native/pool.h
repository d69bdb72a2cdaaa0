// A small pool of worker threads with a fixed size.
//
// Why not OpenMP: torch ships its own runtime, and two of them in one process fight; libgomp spins at barriers, which
// costs 2-5x on a busy machine, and recreates workers whenever the team size changes (docs/performance.md).
// Workers spin briefly, then sleep on a condition variable. A worker that does not get a core before the work is done is
// not waited for, so that a busy machine makes more threads useless at worst, not slower than one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace scenerep {

class Pool {
 public:
  static constexpr int kMaxThreads = 1024;
  static Pool& instance();

  // Number of threads that take part, the caller's included.
  int size() const { return size_; }
  // Ends the workers and starts `threads - 1` new ones. Not to be called while a task runs.
  void resize(int threads);

  // Calls task(thread), thread in [0, size), at most once on every thread that comes while thread 0, the caller's, is in
  // its own call, and returns when all are done. So the task has to share out its work as the threads come, and each
  // call has to go on until nothing is left. What the task throws is thrown here, once.
  template <class F>
  void run(F&& task) {
    std::lock_guard<std::mutex> one_at_a_time(run_mutex_);
    if (size_ == 1) {
      task(0);
      return;
    }
    auto call = [](void* context, int thread) { (*static_cast<std::remove_reference_t<F>*>(context))(thread); };
    dispatch(call, &task);
  }

  // Calls body(begin, end) over chunks of [0, n); which thread takes which chunk is not determined, so the body
  // must write only what belongs to its chunk.
  template <class F>
  void parallel_for(int64_t n, int64_t chunk, F&& body) {
    if (n <= 0) return;
    if (size_ == 1 || n <= chunk) {
      for (int64_t b = 0; b < n; b += chunk) body(b, b + chunk < n ? b + chunk : n);
      return;
    }
    std::atomic<int64_t> next{0};
    run([&](int) {
      for (;;) {
        const int64_t b = next.fetch_add(chunk, std::memory_order_relaxed);
        if (b >= n) return;
        body(b, b + chunk < n ? b + chunk : n);
      }
    });
  }

  ~Pool();

 private:
  Pool() = default;
  void dispatch(void (*call)(void*, int), void* context);
  void attempt(void (*call)(void*, int), void* context, int thread);
  void work(int thread, uint64_t seen);

  int size_ = 1;
  std::vector<std::thread> workers_;
  std::mutex run_mutex_, mutex_;
  std::condition_variable wake_, finished_;
  std::atomic<uint64_t> state_{0};
  std::exception_ptr failure_;
  std::atomic<bool> stop_{false};
  void (*call_)(void*, int) = nullptr;
  void* context_ = nullptr;
};

}  // namespace scenerep
