// The instructions of `warp.cuh` on a processor: a thread for each of a block's, which meet at a barrier wherever a warp or a block does
// something together. What NVIDIA documents of the layout of matrices in registers is written down here a second time.

#pragma once
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using std::min;
typedef unsigned short u16;
typedef unsigned int u32;
struct float4 { float x, y, z, w; };
struct float2 { float x, y; };
struct uint2 { u32 x, y; };
struct Index { int x, y, z; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }

#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __global__
#define __shared__
#define __align__(bytes) __attribute__((aligned(bytes)))

inline thread_local Index threadIdx, blockIdx, blockDim, gridDim;

// What the threads of a warp say to each other.
struct Warp {
    std::barrier<> all{32};
    u32 said[32][6];
};
inline std::vector<std::unique_ptr<Warp>> warps_of_the_block;
inline std::unique_ptr<std::barrier<>> the_block;

inline void __syncthreads() { the_block->arrive_and_wait(); }

inline float number(u16 bfloat16) {
    u32 bits = u32(bfloat16) << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// To the nearest, ties to even.
inline u16 nearest(float x) {
    u32 bits;
    std::memcpy(&bits, &x, 4);
    return u16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline u32 rounded(float low, float high) { return u32(nearest(low)) | u32(nearest(high)) << 16; }
inline float power_of_2(float x) { return std::exp2(x); }
inline float logarithm_to_2(float x) { return std::log2(x); }
inline int lane_of_this() { return threadIdx.x % 32; }

// Says `count` words, lets `read` see what all lanes said, and waits until all have read.
template <class Read> void together(const u32 *words, int count, Read read) {
    Warp &warp = *warps_of_the_block[threadIdx.x / 32];
    std::memcpy(warp.said[lane_of_this()], words, 4 * count);
    warp.all.arrive_and_wait();
    read(warp.said);
    warp.all.arrive_and_wait();
}

inline float of_lane(float x, int lane) {
    u32 word;
    std::memcpy(&word, &x, 4);
    together(&word, 1, [&](u32(*said)[6]) { std::memcpy(&x, &said[lane][0], 4); });
    return x;
}

inline void copy_16_bytes(void *to, const void *from, bool there) {
    there ? (void)std::memcpy(to, from, 16) : (void)std::memset(to, 0, 16);
}
inline void end_of_copies() {}
inline void wait_for_all_copies() {}
inline void wait_for_all_copies_but_the_last() {}

inline void load_matrices(u32 *to, int count, bool transposed, const u16 *row) {
    u32 words[2];
    std::memcpy(words, &row, 8);
    together(words, 2, [&](u32(*said)[6]) {
        int lane = lane_of_this();
        for (int matrix = 0; matrix < count; ++matrix) {
            auto at = [&](int row, int column) {
                const u16 *from;
                std::memcpy(&from, said[matrix * 8 + row], 8);
                return u32(from[column]);
            };
            int i = lane / 4, j = lane % 4 * 2;
            to[matrix] = transposed ? at(j, i) | at(j + 1, i) << 16 : at(i, j) | at(i, j + 1) << 16;
        }
    });
}
inline void load_4_matrices(u32 (&to)[4], const u16 *row) { load_matrices(to, 4, false, row); }
inline void load_4_matrices_transposed(u32 (&to)[4], const u16 *row) { load_matrices(to, 4, true, row); }
inline void load_2_matrices(u32 (&to)[2], const u16 *row) { load_matrices(to, 2, false, row); }
inline void load_2_matrices_transposed(u32 (&to)[2], const u16 *row) { load_matrices(to, 2, true, row); }

// The inner dimension is `depth`, 8 or 16: lanes have two neighbouring numbers of every eight.
inline void multiply(float *sum, const u32 *a, const u32 *b, int depth) {
    u32 words[6] = {};
    std::memcpy(words, a, depth);
    std::memcpy(words + 4, b, depth / 2);
    together(words, 6, [&](u32(*said)[6]) {
        int lane = lane_of_this();
        for (int i = 0; i < 4; ++i) {
            int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
            for (int k = 0; k < depth; ++k) {
                u32 of_a = said[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
                u32 of_b = said[column * 4 + k % 8 / 2][4 + k / 8];
                sum[i] += number(u16(of_a >> k % 2 * 16)) * number(u16(of_b >> k % 2 * 16));
            }
        }
    });
}
inline void multiply_16(float *sum, const u32 *a, u32 b0, u32 b1) {
    const u32 b[2] = {b0, b1};
    multiply(sum, a, b, 16);
}
inline void multiply_8(float *sum, const u32 *a, u32 b) { multiply(sum, a, &b, 8); }

// Runs `kernel` in blocks of so many warps.
template <class Kernel> void launch(Index blocks, int warps, Kernel kernel) {
    for (int z = 0; z < blocks.z; ++z)
        for (int y = 0; y < blocks.y; ++y)
            for (int x = 0; x < blocks.x; ++x) {
                the_block = std::make_unique<std::barrier<>>(warps * 32);
                warps_of_the_block.clear();
                for (int warp = 0; warp < warps; ++warp) warps_of_the_block.push_back(std::make_unique<Warp>());
                std::vector<std::thread> threads;
                for (int thread = 0; thread < warps * 32; ++thread)
                    threads.emplace_back([=] {
                        threadIdx = {thread, 0, 0};
                        blockIdx = {x, y, z};
                        blockDim = {warps * 32, 1, 1};
                        gridDim = blocks;
                        kernel();
                    });
                for (auto &thread : threads) thread.join();
            }
}

inline std::vector<float> random_numbers(size_t count, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    std::vector<float> numbers(count);
    for (float &x : numbers) x = normal(generator);
    return numbers;
}
