// Channel-first maps: neighbouring lines lie side by side and are read where they are, a tile of
// kAbreast vectors by a few lines of memory of each plane.
//
// Three tiles are under way at once: in one loop the values of a tile are read, those of the tile
// before it are worked on, and those of the one before that are written. So reads, arithmetic and
// stores take turns value by value, and none of them waits in a row.
#pragma once

#include "common/vector.h"

HUD_CORE_BEGIN

constexpr int64_t kLongest = 256;  // largest D that a tile holds: 16 KiB of 64-byte vectors

constexpr int kLine = 64;  // bytes of a line of memory

// Vectors between two buffers: buffers a multiple of a page apart would share the L1's places, and
// a load would wait for any store with the same place in a page.
constexpr int64_t kApart = 5;

// What is read next, asked for line by line while the block before it is worked on. A tile reads a
// little of each of D planes, which no hardware prefetcher follows (22 GB/s where a linear read
// gets 35); this walks the next block plane by plane in long runs, which they do.
template <typename S>
struct Ahead {
  const S* at = nullptr;
  const S* run_end = nullptr;
  int64_t run = 0, plane = 0;  // values read of a plane, and from plane to plane

  HUD_HD void start(const S* block, int64_t width, int64_t inner) {
    at = block;
    run = width;
    plane = inner;
    run_end = at + run;
  }
  // Asks for the next line of memory.
  HUD_HD void step() {
    __builtin_prefetch(at);
    at += kLine / static_cast<int>(sizeof(S));
    if (at >= run_end) {
      at = run_end - run + plane;
      run_end = at + run;
    }
  }
};

// Vectors that make whole lines of memory: half a line past the caches costs as much as a whole
// one.
template <typename S>
constexpr int kAbreast = kLine / (kWidth<S> * static_cast<int>(sizeof(S)));

// The first n lanes of maps, n up to a vector.
template <typename S>
struct PartSource {
  const S* p;
  int64_t inner, n;
  HUD_HD VectorOf<S> operator()(int64_t d) const {
    return n == kWidth<S> ? load(p + d * inner) : load_part(p + d * inner, n);
  }
};
template <typename S>
struct PartSink {
  S* p;
  int64_t inner, n;
  HUD_HD void operator()(int64_t d, VectorOf<S> value) const {
    if (n == kWidth<S>) {
      store(p + d * inner, value);
    } else {
      store_part(p + d * inner, value, n);
    }
  }
};

// Past the caches where whole lines of memory are written.
template <typename S>
HUD_HD void put(S* to, VectorOf<S> value, bool past) {
  if (past) {
    stream_lanes(to, value);
  } else {
    store(to, value);
  }
}
struct NothingElse {
  HUD_HD void operator()(int64_t) const {}
};
// Lines [begin, end) of maps; `kernel` as tiles.h tells, and in steps:
//   kTwice                      whether values are worked on between their reading and writing
//   begin() -> state            of a line
//   take(d, a, b, state)        reads: what is kept of a; state gathers what the line needs
//   again(a, state)             kTwice: what is kept instead
//   end(a, step, D) -> state    kTwice: of a line's values, `step` apart: what `second` takes
template <typename S, typename Kernel>
struct MapWalk {
  using V = VectorOf<S>;
  static constexpr int Inputs = Kernel::kInputs;
  static constexpr int L = kWidth<Element<V>>, N = kAbreast<S>;
  static constexpr int kTiles = Kernel::kTwice ? 3 : 2;
  static constexpr int kMostLines = 4;
  static constexpr int64_t kTileBytes =
      8192;  // of what is kept: three lie in the L1 with their input
  const Kernel& kernel;
  const S* a;
  const S* b;
  S* out;
  int64_t D, inner;
  bool past;

  // What is kept lies as it is written: plane by plane, a plane's vectors side by side.
  struct Tile {
    S* to = nullptr;  // null: no tile yet, or no more
    V* a;
    V* b;
    V state[kMostLines * N];
  };

  void run(int64_t begin, int64_t end) const {
    constexpr int64_t most = int64_t{N} * kLongest * HUD_VECTOR_BYTES;
    constexpr int64_t size = (most > kTileBytes ? most : kTileBytes) / HUD_VECTOR_BYTES + kApart;
    V buffer[kTiles * Inputs * size];
    const int64_t lines = lines_of_tile(), T = lines * N * L;
    Tile tiles[kTiles];
    for (int i = 0; i < kTiles; ++i) {
      tiles[i].a = buffer + i * (lines * N * D + kApart);
      tiles[i].b = Inputs == 2 ? tiles[i].a + kTiles * (lines * N * D + kApart) : tiles[i].a;
    }
    const int64_t width = block_width(T);
    const bool beyond = past && inner % T == 0 && line_aligned(out);
    Ahead<S> ahead_a, ahead_b;
    int64_t block_end = begin;
    int turn = 0;
    const auto next = [&](S* to, const S* from_a, const S* from_b) {
      Tile& taken = tiles[turn];
      turn = turn + 1 == kTiles ? 0 : turn + 1;
      const Tile& written = tiles[turn];
      pass(from_a, from_b, ahead_a, ahead_b, taken, tiles[(turn + 1) % kTiles], written, lines,
           beyond);
      taken.to = to;
    };
    for (int64_t i = begin; i < end;) {
      const int64_t within = i % inner;
      const int64_t offset = (i / inner) * D * inner + within;
      if (i >= block_end) {
        // The block that begins here has been asked for; ask for the one after it.
        const int64_t rest = inner - within;
        const int64_t own = rest < width ? rest : width;
        const int64_t after = rest - own;
        const int64_t from = after > 0 ? offset + own : offset - within + D * inner;
        const int64_t of = after > 0 ? after : inner;
        block_end = i + own;
        ahead_a.start(a + from, of < width ? of : width, inner);
        if (Inputs == 2) ahead_b.start(b + from, of < width ? of : width, inner);
      }
      int64_t left = inner - within < end - i ? inner - within : end - i;
      const int64_t to_boundary = (N * L - within % (N * L)) % (N * L);
      if (to_boundary != 0 && to_boundary < left) left = to_boundary;  // tiles begin where lines do
      const S* from_b = b + (Inputs == 2 ? offset : 0);
      if (left >= T) {
        left = T;
        next(out + offset, a + offset, from_b);
      } else {
        if (left > L) left = L;
        part(a + offset, from_b, out + offset, left, tiles[turn].a, tiles[turn].b);
      }
      i += left;
    }
    for (int i = 1; i < kTiles; ++i) next(nullptr, nullptr, nullptr);
  }

 private:
  // Long runs of a plane are kinder to the memory; short planes leave fewer lanes over without.
  int64_t lines_of_tile() const {
    const int64_t fits = kTileBytes / (D * N * HUD_VECTOR_BYTES);
    if (fits < 2 || inner < 16 * N * L) return 1;
    return fits < kMostLines ? fits : kMostLines;
  }

  // Blocks of so many lines that D runs of them fit half a small L2, and a run is at most a page.
  int64_t block_width(int64_t T) const {
    const int64_t fits = (int64_t{128} << 10) / (D * static_cast<int64_t>(sizeof(S)) * Inputs);
    const int64_t page = 4096 / static_cast<int64_t>(sizeof(S));
    const int64_t width = fits < page ? fits : page;
    return width < 2 * T ? 2 * T : width - width % T;
  }

  // Reads `taken`, works on `now`, writes `written`. What the loops walk by is copied out of *this
  // and the tiles: stores through S* could change it, for all the compiler knows.
  HUD_HD void pass(const S* from_a, const S* from_b, Ahead<S>& asked_a, Ahead<S>& asked_b,
                   Tile& taken, Tile& now, const Tile& written, int64_t lines, bool beyond) const {
    const Kernel k = kernel;
    const int64_t count = D, stride = inner;
    const bool reads = from_a != nullptr, works = Kernel::kTwice && now.to != nullptr;
    Ahead<S> ahead_a = asked_a, ahead_b = asked_b;
    S* to = written.to;
    const V *written_a = written.a, *written_b = written.b, *written_state = written.state;
    int64_t plane = 0, line_out = 0;
    for (int64_t line = 0; line < lines; ++line) {
      V gathered[N], state[N];
      for (int v = 0; v < N; ++v) {
        gathered[v] = k.begin();
        state[v] = now.state[line * N + v];
      }
      V *taken_a = taken.a + line * N, *taken_b = taken.b + line * N, *now_a = now.a + line * N;
      const int64_t at = reads ? line * N * L : 0;
      const S *a_at = from_a + at, *b_at = from_b + at;
      for (int64_t d = 0; d < count; ++d) {
        if (reads) {
          ahead_a.step();
          if (Inputs == 2) ahead_b.step();
          for (int v = 0; v < N; ++v) {
            const V x = load(a_at + v * L), y = Inputs == 2 ? load(b_at + v * L) : x;
            taken_a[v] = k.take(d, x, y, gathered[v]);
            if (Inputs == 2) taken_b[v] = y;
          }
          a_at += stride;
          b_at += stride;
          taken_a += lines * N;
          taken_b += lines * N;
        }
        if constexpr (Kernel::kTwice)
          if (works) {
            for (int v = 0; v < N; ++v) now_a[v] = k.again(now_a[v], state[v]);
            now_a += lines * N;
          }
        if (to != nullptr) {
          for (int v = 0; v < N; ++v)
            put(to + v * L, k.second(plane, written_a[v], written_b[v], written_state[v]), beyond);
          to += N * L;
          written_a += N;
          written_b += N;
          written_state += N;
          if (++line_out == lines) {
            line_out = 0;
            ++plane;
            to += stride - lines * N * L;
            written_state = written.state;
          }
        }
      }
      for (int v = 0; v < N; ++v) {
        taken.state[line * N + v] = gathered[v];
        if constexpr (Kernel::kTwice)
          if (works) now.state[line * N + v] = k.end(now.a + line * N + v, lines * N, count);
      }
    }
    asked_a = ahead_a;
    asked_b = ahead_b;
  }

  // Up to a vector of lines by itself.
  HUD_HD void part(const S* from_a, const S* from_b, S* to, int64_t n, V* kept_a, V* kept_b) const {
    const V state = kernel.first(PartSource<S>{from_a, inner, n}, PartSource<S>{from_b, inner, n},
                                 kept_a, kept_b, NothingElse{}, D);
    const PartSink<S> sink{to, inner, n};
    for (int64_t d = 0; d < D; ++d)
      sink(d, kernel.second(d, kept_a[d], kept_b[Inputs == 2 ? d : 0], state));
  }
};

HUD_CORE_END
