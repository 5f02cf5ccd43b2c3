// Attention without a gradient: scores, softmax and weighted sum of a block of queries in one pass over the keys, so that no score is
// written to memory (FlashAttention-2: Dao, 2023). Operands are numbers of 16 bits, sums are in single precision.
//
// The compiler is given WIDTH, the numbers of a head: a multiple of 8. What a thread holds of a matrix is as the instruction `mma` of
// NVIDIA's units for matrices lays it down: 16 rows by 8 columns, of which lane l has the columns 2 (l % 4) and the next, in the rows
// l / 4 and that plus 8. `warp.cuh` has these instructions.

constexpr int KEYS = 64;
constexpr int CHUNKS = WIDTH / 8;
// Numbers from one key to the next in shared memory: an odd number of 16 bytes, so that eight keys lie in different banks.
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

struct Arguments {
    Operand query, key, value;
    Bias bias;
    // [batch, queries, heads, WIDTH], in single precision or as the operands.
    void *result;
    int heads, heads_per_key, queries, keys;
    int causal, single;
    float scale;
};

// Brings keys and values `first` to `first + KEYS` to shared memory; zeros where there are none.
__device__ void load(const Arguments &a, const u16 *key, const u16 *value, int first, u16 *keys, u16 *values) {
    for (int i = threadIdx.x; i < KEYS * CHUNKS; i += blockDim.x) {
        int row = i / CHUNKS, chunk = i % CHUNKS, at = first + row;
        bool there = at < a.keys;
        long long from = there ? at : 0;
        copy_16_bytes(keys + row * APART + chunk * 8, key + from * a.key.token + chunk * 8, there);
        copy_16_bytes(values + row * APART + chunk * 8, value + from * a.value.token + chunk * 8, there);
    }
    end_of_copies();
}

extern "C" __global__ void attention(const Arguments a) {
    extern __shared__ __align__(16) u16 shared[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int head = blockIdx.y, batch = blockIdx.z;
    const int first = (blockIdx.x * warps + warp) * 16;
    const int rows[2] = {first + lane / 4, first + lane / 4 + 8};
    const int column = lane % 4 * 2;
    const u16 *query = a.query.numbers + batch * a.query.row + head * a.query.head;
    const u16 *key = a.key.numbers + batch * a.key.row + head / a.heads_per_key * a.key.head;
    const u16 *value = a.value.numbers + batch * a.value.row + head / a.heads_per_key * a.value.head;

    u32 q[CHUNKS][2];
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const u16 *from = query + rows[half] * a.query.token + chunk * 8 + column;
            q[chunk][half] = rows[half] < a.queries ? *reinterpret_cast<const u32 *>(from) : 0;
        }

    float sum[CHUNKS][4] = {};
    float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
    // The last query sees all keys, those before it see as many fewer.
    const int later = a.keys - a.queries;
    int seen = a.keys;
    if (a.causal) seen = min(seen, (int)(blockIdx.x + 1) * warps * 16 + later);
    const int tiles = seen > 0 ? (seen + KEYS - 1) / KEYS : 0;
    if (tiles > 0) load(a, key, value, 0, shared, shared + KEYS * APART);
    for (int tile = 0; tile < tiles; ++tile) {
        u16 *keys = shared + tile % 2 * 2 * KEYS * APART, *values = keys + KEYS * APART;
        if (tile + 1 < tiles) {
            u16 *next = shared + (tile + 1) % 2 * 2 * KEYS * APART;
            load(a, key, value, (tile + 1) * KEYS, next, next + KEYS * APART);
            wait_for_all_copies_but_the_last();
        } else {
            wait_for_all_copies();
        }
        __syncthreads();
        if (first < a.queries) {
            const int here = a.keys - tile * KEYS;
            float scores[KEYS / 8][4];
#pragma unroll
            for (int pair = 0; pair < KEYS / 16; ++pair) {
                float *left = scores[2 * pair], *right = scores[2 * pair + 1];
#pragma unroll
                for (int i = 0; i < 4; ++i) left[i] = right[i] = 0;
                if (pair * 16 >= here) continue;
                const u16 *these = keys + pair * 16 * APART;
#pragma unroll
                for (int step = 0; step < WIDTH / 16; ++step) {
                    u32 k[4];
                    int row = lane / 16 * 8 + lane % 8, from = step * 16 + lane / 8 % 2 * 8;
                    load_4_matrices(k, these + row * APART + from);
                    const u32 of_query[4] = {q[2 * step][0], q[2 * step][1], q[2 * step + 1][0], q[2 * step + 1][1]};
                    multiply_16(left, of_query, k[0], k[1]);
                    multiply_16(right, of_query, k[2], k[3]);
                }
                if (WIDTH % 16) {
                    u32 k[2];
                    load_2_matrices(k, these + lane % 16 * APART + WIDTH - 8);
                    multiply_8(left, q[CHUNKS - 1], k[0]);
                    multiply_8(right, q[CHUNKS - 1], k[1]);
                }
            }

            // In powers of two. What a query must not see, and what is no key, weighs nothing.
            const bool all_count = here >= KEYS && !a.causal && a.bias.numbers == nullptr;
#pragma unroll
            for (int chunk = 0; chunk < KEYS / 8; ++chunk)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    float score = scores[chunk][i] * (a.scale * LOG2_E);
                    if (!all_count) {
                        int at = tile * KEYS + chunk * 8 + column + i % 2, row = rows[i / 2];
                        bool hidden = at >= a.keys || row >= a.queries || (a.causal && at > row + later);
                        if (!hidden && a.bias.numbers != nullptr)
                            score += LOG2_E * a.bias.numbers[batch * a.bias.row + head * a.bias.head +
                                                             row * a.bias.query + at * a.bias.key];
                        if (hidden) score = -INFINITY;
                    }
                    scores[chunk][i] = score;
                }

#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float most = largest[half];
#pragma unroll
                for (int chunk = 0; chunk < KEYS / 8; ++chunk)
                    most = fmaxf(most, fmaxf(scores[chunk][2 * half], scores[chunk][2 * half + 1]));
                most = fmaxf(most, of_lane(most, lane ^ 1));
                most = fmaxf(most, of_lane(most, lane ^ 2));
                const float base = most == -INFINITY ? 0 : most;
                const float factor = power_of_2(largest[half] - base);
                largest[half] = most;
                float added = 0;
#pragma unroll
                for (int chunk = 0; chunk < KEYS / 8; ++chunk)
#pragma unroll
                    for (int i = 2 * half; i < 2 * half + 2; ++i) {
                        scores[chunk][i] = power_of_2(scores[chunk][i] - base);
                        added += scores[chunk][i];
                    }
                total[half] = total[half] * factor + added;
#pragma unroll
                for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                    sum[chunk][2 * half] *= factor;
                    sum[chunk][2 * half + 1] *= factor;
                }
            }

#pragma unroll
            for (int pair = 0; pair < KEYS / 16; ++pair) {
                if (pair * 16 >= here) continue;
                const float *left = scores[2 * pair], *right = scores[2 * pair + 1];
                const u32 weights[4] = {rounded(left[0], left[1]), rounded(left[2], left[3]),
                                        rounded(right[0], right[1]), rounded(right[2], right[3])};
                const u16 *these = values + pair * 16 * APART;
#pragma unroll
                for (int step = 0; step < WIDTH / 16; ++step) {
                    u32 v[4];
                    load_4_matrices_transposed(v, these + lane % 16 * APART + step * 16 + lane / 16 * 8);
                    multiply_16(sum[2 * step], weights, v[0], v[1]);
                    multiply_16(sum[2 * step + 1], weights, v[2], v[3]);
                }
                if (WIDTH % 16) {
                    u32 v[2];
                    load_2_matrices_transposed(v, these + lane % 16 * APART + WIDTH - 8);
                    multiply_16(sum[CHUNKS - 1], weights, v[0], v[1]);
                }
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float all = total[half];
        all += of_lane(all, lane ^ 1);
        all += of_lane(all, lane ^ 2);
        const float share = all > 0 ? 1 / all : 0;
        if (rows[half] >= a.queries) continue;
        const long long to = (((long long)batch * a.queries + rows[half]) * a.heads + head) * WIDTH + column;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            const float x = sum[chunk][2 * half] * share, y = sum[chunk][2 * half + 1] * share;
            if (a.single) {
                float *result = static_cast<float *>(a.result) + to + chunk * 8;
                result[0] = x;
                result[1] = y;
            } else {
                *reinterpret_cast<u32 *>(static_cast<u16 *>(a.result) + to + chunk * 8) = rounded(x, y);
            }
        }
    }
}
