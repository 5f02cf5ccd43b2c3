// Attention: scores, softmax and weighted sum of a block of queries in one pass over the keys, so that no score is written to memory
// (FlashAttention-2: Dao, 2023).

struct Arguments {
    Operand query, key, value;
    Bias bias;
    // [batch, queries, heads, WIDTH], in single precision or as the operands.
    void *result;
    // Of the sum of powers of each query, [batch, heads, queries], to the base of two; infinite where a query sees nothing. Not wanted
    // where this is null.
    float *logarithms;
    int heads, heads_per_key, queries, keys;
    int causal, single;
    float scale;
};

// What a warp's queries have seen so far.
struct Seen {
    float sum[CHUNKS][4];
    float largest[2], total[2];
};

// Lets a warp's queries see the `here` keys of a tile. WHOLE: all of them, and without a bias.
template <bool WHOLE>
__device__ __forceinline__ void see(Seen &seen, const Arguments &a, const u32 (&query)[CHUNKS][2], const u16 *keys, const u16 *values,
                                    int first, int first_key, int here) {
    const int lane = threadIdx.x % 32, head = blockIdx.y, batch = blockIdx.z;
    float scores[TILE / 8][4] = {};
#pragma unroll
    for (int pair = 0; pair < TILE / 16; ++pair)
        if (WHOLE || pair * 16 < here) with_each(scores[2 * pair], scores[2 * pair + 1], query, keys + pair * 16 * APART);

    // In powers of two. What a query must not see, and what is no key, weighs nothing.
#pragma unroll
    for (int chunk = 0; chunk < TILE / 8; ++chunk)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float score = scores[chunk][i] * (a.scale * LOG2_E);
            if (!WHOLE) {
                const int at = first_key + chunk * 8 + lane % 4 * 2 + i % 2, row = first + lane / 4 + i / 2 * 8;
                // The last query sees all keys, those before it see as many fewer.
                const bool hidden = at >= a.keys || row >= a.queries || (a.causal && at > row + a.keys - a.queries);
                if (!hidden && a.bias.numbers != nullptr)
                    score += LOG2_E * a.bias.numbers[batch * a.bias.row + head * a.bias.head + row * a.bias.query + at * a.bias.key];
                if (hidden) score = -INFINITY;
            }
            scores[chunk][i] = score;
        }

#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float most = seen.largest[half];
#pragma unroll
        for (int chunk = 0; chunk < TILE / 8; ++chunk)
            most = fmaxf(most, fmaxf(scores[chunk][2 * half], scores[chunk][2 * half + 1]));
        most = fmaxf(most, of_lane(most, lane ^ 1));
        most = fmaxf(most, of_lane(most, lane ^ 2));
        const float base = most == -INFINITY ? 0 : most;
        const float factor = power_of_2(seen.largest[half] - base);
        seen.largest[half] = most;
        float added = 0;
#pragma unroll
        for (int chunk = 0; chunk < TILE / 8; ++chunk)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                scores[chunk][i] = power_of_2(scores[chunk][i] - base);
                added += scores[chunk][i];
            }
        seen.total[half] = seen.total[half] * factor + added;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            seen.sum[chunk][2 * half] *= factor;
            seen.sum[chunk][2 * half + 1] *= factor;
        }
    }
#pragma unroll
    for (int pair = 0; pair < TILE / 16; ++pair)
        if (WHOLE || pair * 16 < here) weighted(seen.sum, scores[2 * pair], scores[2 * pair + 1], values + pair * 16 * APART);
}

extern "C" __global__ void __launch_bounds__(192, 2) attention(const Arguments a) {
    extern __shared__ __align__(16) u16 shared[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int head = blockIdx.y, batch = blockIdx.z;
    const int first = (blockIdx.x * warps + warp) * 16;
    const u16 *key = first_token(a.key, batch, head / a.heads_per_key), *value = first_token(a.value, batch, head / a.heads_per_key);
    u32 query[CHUNKS][2];
    hold(query, first_token(a.query, batch, head), a.query.token, first, a.queries);

    Seen seen{{}, {-INFINITY, -INFINITY}, {0, 0}};
    int reach = a.keys;
    if (a.causal) reach = min(reach, (int)(blockIdx.x + 1) * warps * 16 + a.keys - a.queries);
    const int tiles = reach > 0 ? (reach + TILE - 1) / TILE : 0;
    if (tiles > 0) load(key, a.key.token, value, a.value.token, 0, a.keys, shared);
    for (int tile = 0; tile < tiles; ++tile) {
        const u16 *keys = shared + tile % 2 * 2 * TILE * APART, *values = keys + TILE * APART;
        if (tile + 1 < tiles)
            load(key, a.key.token, value, a.value.token, (tile + 1) * TILE, a.keys, shared + (tile + 1) % 2 * 2 * TILE * APART);
        wait_for_tile(tile + 1 < tiles);
        if (first < a.queries) {
            const int here = a.keys - tile * TILE;
            if (here >= TILE && !a.causal && a.bias.numbers == nullptr)
                see<true>(seen, a, query, keys, values, first, tile * TILE, here);
            else
                see<false>(seen, a, query, keys, values, first, tile * TILE, here);
        }
        __syncthreads();
    }

    float share[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const float all = over_four_lanes(seen.total[half]);
        share[half] = all > 0 ? 1 / all : 0;
        const int row = first + lane / 4 + 8 * half;
        if (a.logarithms != nullptr && lane % 4 == 0 && row < a.queries)
            a.logarithms[((long long)batch * a.heads + head) * a.queries + row] =
                all > 0 ? seen.largest[half] + logarithm_to_2(all) : INFINITY;
    }
    write(a.result, a.single, seen.sum, share, first, a.queries, a.heads, batch, head);
}
