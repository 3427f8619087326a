// Launchers of the block search (windows/device_tiles.h, windows/device_exact.h) on the caller's
// stream: no allocation, no waiting, and how many blocks need more than one pass stays on the
// device. Every pointer of the job is a device pointer. The return value is a cudaError_t (0:
// launched).
//
// The same functions in namespace `emulated` do the same on the host, groups of threads one after
// another.
#pragma once

#include <cstdint>

#include "windows/device_job.h"

namespace hud {

namespace cuda {

// Bytes of memory that a group may share on a device; 0 where it cannot be asked.
int64_t window_shared_limit(int device);
// Spectra and squared norms of the job's range of tile pairs.
int window_tiles(const TileJob& job, int device, void* stream);
// Numbers, empty lists and (with `spectra`) spectra of the job's blocks.
int window_blocks(const TileJob& job, bool spectra, int device, void* stream);
// All blocks, or those listed in `again`, at the job's range of tile pairs.
int window_correlate(const TileJob& job, bool again, int device, void* stream);
// What the pass leaves: a `Settle`.
int window_settle(const TileJob& job, int how, int device, void* stream);
// Scans what is to be scanned, rescores the lists, and writes the answers.
int window_answer(const TileJob& job, int device, void* stream);

}  // namespace cuda

namespace emulated {

int window_tiles(const TileJob& job, int device, void* stream);
int window_blocks(const TileJob& job, bool spectra, int device, void* stream);
int window_correlate(const TileJob& job, bool again, int device, void* stream);
int window_settle(const TileJob& job, int how, int device, void* stream);
int window_answer(const TileJob& job, int device, void* stream);

}  // namespace emulated

}  // namespace hud
