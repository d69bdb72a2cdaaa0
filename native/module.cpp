#include "module.h"

#include <algorithm>
#include <chrono>

#include "buffer.h"
#include "pool.h"
#include "simd_unit.h"

namespace {

// 1 = x86-64, 3 = x86-64-v3, 4 = x86-64-v4, 0 = another architecture.
int cpu_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? 4 : v3 ? 3 : 1;
#else
  return 0;
#endif
}

// Floating-point operations per second of one thread that does nothing but fused multiply-adds (or, without them, a
// multiplication and an addition), best of ten: what the benchmarks take shares of.
double fma_peak() {
  using scenerep::f16;
  // Twelve registers hide the latency. All differ, or the compiler computes equal ones once.
  constexpr int kChains = 12 * scenerep::kUnitLanes / scenerep::kLanes;
  constexpr int kRounds = 100000;
  double best = 0;
  volatile float scale = 0.999f, sink = 0;
  for (int attempt = 0; attempt < 10; attempt++) {
    f16 sums[kChains];
    float lanes[scenerep::kLanes];
    for (int c = 0; c < kChains; c++) {
      for (int i = 0; i < scenerep::kLanes; i++) lanes[i] = scale + static_cast<float>(c * scenerep::kLanes + i);
      sums[c] = scenerep::load(lanes);
    }
    const f16 a = scale, b = 1.0f - scale;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kRounds; i++)
      for (auto& s : sums) s = fma(s, a, b);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    for (auto& s : sums) sink = sink + sum(s);
    best = std::max(best, 2.0 * scenerep::kLanes * kChains * kRounds / seconds);
  }
  return best;
}

}  // namespace

NB_MODULE(SCENEREP_MODULE, m) {
  namespace nb = nanobind;
  nb::set_leak_warnings(false);  // workspaces are kept for the life of the process on purpose
  m.def("cpu_level", &cpu_level, "Highest x86-64 level that this CPU has (1, 3 or 4); 0 elsewhere.");
  m.def("set_threads", [](int n) { scenerep::Pool::instance().resize(n); }, nb::arg("threads"),
        nb::call_guard<nb::gil_scoped_release>());
  m.def("threads", [] { return scenerep::Pool::instance().size(); });
  m.def("allocations", [] { return nb::make_tuple(scenerep::Allocations::count.load(), scenerep::Allocations::bytes.load()); },
        "Number and bytes of the buffers that the kernels have allocated since the start.");
  m.def("fma_peak", &fma_peak, nb::call_guard<nb::gil_scoped_release>(), "Measured peak of one thread, operations per second.");
  scenerep::bind_rasterize(m);
  scenerep::bind_loss(m);
  scenerep::bind_adam(m);
  scenerep::bind_noise(m);
  scenerep::bind_coding(m);
  scenerep::bind_conditional(m);
  scenerep::bind_image(m);
  scenerep::bind_image_gaussians(m);
  scenerep::bind_voxels(m);
}
