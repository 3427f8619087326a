// The CUDA launchers of the tile search.
#pragma once

#include "common/cuda.h"
#include "cosine/bind_device.h"
#include "cosine/device.h"

namespace hud::cuda_bindings {

inline void register_cuda_cosine_max(pybind11::module_& m) {
  m.def("cuda_shared_limit", &cuda::shared_limit);
  m.def("cuda_row_inverse", [](uintptr_t rows, bool is_float32, int64_t count, int64_t bands,
                               uintptr_t inverse, int device, uintptr_t stream) {
    check(
        cuda::row_inverse(pointer(rows), is_float32, count, bands,
                          static_cast<double*>(pointer(inverse)), device, pointer(stream)),
        ("row_inverse of (" + std::to_string(count) + ", " + std::to_string(bands) + ")").c_str());
  });
  m.def("cuda_cosine_pack", [](const pybind11::dict& from, int device, uintptr_t stream) {
    const CosinePackJob job = pack_job(from);
    check(cuda::cosine_pack(job, device, pointer(stream)),
          ("cosine_max, packing " + std::to_string(job.tiles) + " tiles of " +
           std::to_string(job.depth) + " numbers")
              .c_str());
  });
  m.def("cuda_cosine_max", [](const pybind11::dict& from, int device, uintptr_t stream) {
    const CosineSearchJob job = search_job(from);
    check(cuda::cosine_search(job, device, pointer(stream)),
          ("cosine_max of (" + std::to_string(job.queries) + ", " + std::to_string(job.bands) +
           ") queries among " + std::to_string(job.tiles) + " tiles")
              .c_str());
  });
}

}  // namespace hud::cuda_bindings
