// What the kernels of attention share. Operands are numbers of 16 bits, sums are in single precision.
//
// The compiler is given WIDTH, the numbers of a head: a multiple of 8. What a thread holds of a matrix is as the instruction `mma` of
// NVIDIA's units for matrices lays it down: 16 rows by 8 columns, of which lane l has the columns 2 (l % 4) and the next, in the rows
// l / 4 and that plus 8. `warp.cuh` has these instructions.

// Tokens that are in shared memory at a time, twice: while one tile is read, the next one comes.
constexpr int TILE = 64;
constexpr int CHUNKS = WIDTH / 8;
// Numbers from one token to the next in shared memory: an odd number of 16 bytes, so that eight tokens lie in different banks.
constexpr int APART = (CHUNKS | 1) * 8;
constexpr float LOG2_E = 1.4426950408889634f;

struct Operand {
    const u16 *numbers;
    // Numbers from one row of the batch, head, or token to the next.
    long long row, head, token;
};

struct Bias {
    // None where this is null.
    const float *numbers;
    long long row, head, query, key;
};

__device__ __forceinline__ const u16 *first_token(const Operand &x, int batch, int head) {
    return x.numbers + batch * x.row + head * x.head;
}

// Brings tokens `first` to `first + TILE` of two operands to shared memory; zeros where there are none.
__device__ __forceinline__ void load(const u16 *a, long long a_apart, const u16 *b, long long b_apart, int first, int tokens,
                                     u16 *tile) {
    for (int i = threadIdx.x; i < TILE * CHUNKS; i += blockDim.x) {
        int row = i / CHUNKS, chunk = i % CHUNKS, at = first + row;
        bool there = at < tokens;
        long long from = there ? at : 0;
        copy_16_bytes(tile + row * APART + chunk * 8, a + from * a_apart + chunk * 8, there);
        copy_16_bytes(tile + (TILE + row) * APART + chunk * 8, b + from * b_apart + chunk * 8, there);
    }
    end_of_copies();
}

// Waits until the tile before the next one, if there is one, lies in shared memory.
__device__ __forceinline__ void wait_for_tile(bool next_comes) {
    if (next_comes)
        wait_for_all_copies_but_the_last();
    else
        wait_for_all_copies();
    __syncthreads();
}

// A warp's 16 tokens from `first` on, as the left operand of products; zeros where there are none.
__device__ __forceinline__ void hold(u32 (&to)[CHUNKS][2], const u16 *numbers, long long apart, int first, int tokens) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int token = first + lane / 4 + 8 * half;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const u16 *from = numbers + token * apart + chunk * 8 + lane % 4 * 2;
            to[chunk][half] = token < tokens ? *reinterpret_cast<const u32 *>(from) : 0;
        }
    }
}

// left, right += a b^T: a warp's 16 tokens with tokens 0 to 7 and 8 to 15 of `b` in shared memory.
__device__ __forceinline__ void with_each(float *left, float *right, const u32 (&a)[CHUNKS][2], const u16 *b) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < WIDTH / 16; ++step) {
        u32 k[4];
        load_4_matrices(k, b + (lane / 16 * 8 + lane % 8) * APART + step * 16 + lane / 8 % 2 * 8);
        const u32 of_a[4] = {a[2 * step][0], a[2 * step][1], a[2 * step + 1][0], a[2 * step + 1][1]};
        multiply_16(left, of_a, k[0], k[1]);
        multiply_16(right, of_a, k[2], k[3]);
    }
    if (WIDTH % 16) {
        u32 k[2];
        load_2_matrices(k, b + lane % 16 * APART + WIDTH - 8);
        multiply_8(left, a[CHUNKS - 1], k[0]);
        multiply_8(right, a[CHUNKS - 1], k[1]);
    }
}

// sum += weights b: of a warp's 16 tokens for 16 tokens of `b` in shared memory, eight in `left` and eight in `right`.
__device__ __forceinline__ void weighted(float (&sum)[CHUNKS][4], const float *left, const float *right, const u16 *b) {
    const int lane = threadIdx.x % 32;
    const u32 weights[4] = {rounded(left[0], left[1]), rounded(left[2], left[3]), rounded(right[0], right[1]),
                            rounded(right[2], right[3])};
#pragma unroll
    for (int step = 0; step < WIDTH / 16; ++step) {
        u32 v[4];
        load_4_matrices_transposed(v, b + lane % 16 * APART + step * 16 + lane / 16 * 8);
        multiply_16(sum[2 * step], weights, v[0], v[1]);
        multiply_16(sum[2 * step + 1], weights, v[2], v[3]);
    }
    if (WIDTH % 16) {
        u32 v[2];
        load_2_matrices_transposed(v, b + lane % 16 * APART + WIDTH - 8);
        multiply_16(sum[CHUNKS - 1], weights, v[0], v[1]);
    }
}

__device__ __forceinline__ float over_four_lanes(float x) {
    const int lane = threadIdx.x % 32;
    x += of_lane(x, lane ^ 1);
    return x + of_lane(x, lane ^ 2);
}

// Writes a warp's 16 tokens from `first` on to `[batch, tokens, heads, WIDTH]`, in single precision or 16 bits.
__device__ __forceinline__ void write(void *result, bool single, const float (&sum)[CHUNKS][4], const float (&scale)[2], int first,
                                      int tokens, int heads, int batch, int head) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int token = first + lane / 4 + 8 * half;
        if (token >= tokens) continue;
        const long long to = (((long long)batch * tokens + token) * heads + head) * WIDTH + lane % 4 * 2;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const float x = sum[chunk][2 * half] * scale[half], y = sum[chunk][2 * half + 1] * scale[half];
            if (single)
                *reinterpret_cast<float2 *>(static_cast<float *>(result) + to + chunk * 8) = make_float2(x, y);
            else
                *reinterpret_cast<u32 *>(static_cast<u16 *>(result) + to + chunk * 8) = rounded(x, y);
        }
    }
}
