// The gradients of attention, which makes the weights again out of the logarithms that the forward pass kept (FlashAttention-2: Dao,
// 2023). A first kernel takes queries, 16 a warp, and passes over the keys; a second one takes keys and passes over the queries: no sum
// is made by several blocks, so that the same arguments give the same bits.

struct Arguments {
    // `gradient` is that of the result; all have as many heads.
    Operand query, key, value, gradient;
    Bias bias;
    // [batch, queries, heads, WIDTH], as the forward pass gave it.
    const void *result;
    // [batch, heads, queries].
    const float *logarithms;
    // What each query takes off the gradients of its weights, [batch, heads, queries]: written by the first kernel, read by the second.
    float *along;
    // [batch, tokens, heads, WIDTH], in single precision or as the operands.
    void *of_query, *of_key, *of_value;
    int heads, queries, keys;
    int causal, single;
    float scale;
};

// A weight of its score, and the gradient of that score of the weight's.
__device__ __forceinline__ void differentiate(const Arguments &a, float &score, float &of_weight, int row, int at, int batch, int head,
                                              float logarithm, float along) {
    float power = score * (a.scale * LOG2_E);
    const bool hidden = at >= a.keys || row >= a.queries || (a.causal && at > row + a.keys - a.queries);
    if (!hidden && a.bias.numbers != nullptr)
        power += LOG2_E * a.bias.numbers[batch * a.bias.row + head * a.bias.head + row * a.bias.query + at * a.bias.key];
    score = hidden ? 0 : power_of_2(power - logarithm);
    of_weight = score * (of_weight - along) * a.scale;
}

extern "C" __global__ void attention_backward_of_query(const Arguments a) {
    extern __shared__ __align__(16) u16 shared[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int head = blockIdx.y, batch = blockIdx.z;
    const int first = (blockIdx.x * warps + warp) * 16;
    const u16 *key = first_token(a.key, batch, head), *value = first_token(a.value, batch, head);
    u32 query[CHUNKS][2], gradient[CHUNKS][2];
    hold(query, first_token(a.query, batch, head), a.query.token, first, a.queries);
    hold(gradient, first_token(a.gradient, batch, head), a.gradient.token, first, a.queries);

    float logarithm[2], along[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = first + lane / 4 + 8 * half;
        const bool there = row < a.queries;
        const long long place = ((long long)batch * a.heads + head) * a.queries + row;
        logarithm[half] = there ? a.logarithms[place] : INFINITY;
        float sum = 0;
        const long long from = (((long long)batch * a.queries + row) * a.heads + head) * WIDTH + lane % 4 * 2;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            if (!there) continue;
            const u32 both = gradient[chunk][half];
            float x, y;
            if (a.single) {
                const float2 result = *reinterpret_cast<const float2 *>(static_cast<const float *>(a.result) + from + chunk * 8);
                x = result.x, y = result.y;
            } else {
                const u32 result = *reinterpret_cast<const u32 *>(static_cast<const u16 *>(a.result) + from + chunk * 8);
                x = number(static_cast<u16>(result)), y = number(static_cast<u16>(result >> 16));
            }
            sum += x * number(static_cast<u16>(both)) + y * number(static_cast<u16>(both >> 16));
        }
        along[half] = over_four_lanes(sum);
        if (there && lane % 4 == 0) a.along[place] = along[half];
    }

    float of_query[CHUNKS][4] = {};
    const int tiles = (a.keys + TILE - 1) / TILE;
    load(key, a.key.token, value, a.value.token, 0, a.keys, shared);
    for (int tile = 0; tile < tiles; ++tile) {
        const u16 *keys = shared + tile % 2 * 2 * TILE * APART, *values = keys + TILE * APART;
        if (tile + 1 < tiles)
            load(key, a.key.token, value, a.value.token, (tile + 1) * TILE, a.keys, shared + (tile + 1) % 2 * 2 * TILE * APART);
        wait_for_tile(tile + 1 < tiles);
        if (first < a.queries) {
#pragma unroll
            for (int pair = 0; pair < TILE / 16; ++pair) {
                if (tile * TILE + pair * 16 >= a.keys) continue;
                float scores[2][4] = {}, of_weights[2][4] = {};
                with_each(scores[0], scores[1], query, keys + pair * 16 * APART);
                with_each(of_weights[0], of_weights[1], gradient, values + pair * 16 * APART);
#pragma unroll
                for (int side = 0; side < 2; ++side)
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const int at = tile * TILE + pair * 16 + side * 8 + lane % 4 * 2 + i % 2;
                        const int row = first + lane / 4 + i / 2 * 8;
                        differentiate(a, scores[side][i], of_weights[side][i], row, at, batch, head, logarithm[i / 2], along[i / 2]);
                    }
                weighted(of_query, of_weights[0], of_weights[1], keys + pair * 16 * APART);
            }
        }
        __syncthreads();
    }
    const float whole[2] = {1, 1};
    write(a.of_query, a.single, of_query, whole, first, a.queries, a.heads, batch, head);
}

extern "C" __global__ void attention_backward_of_keys(const Arguments a) {
    extern __shared__ __align__(16) u16 shared[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int head = blockIdx.y, batch = blockIdx.z;
    const int first = (blockIdx.x * warps + warp) * 16;
    const u16 *query = first_token(a.query, batch, head), *gradient = first_token(a.gradient, batch, head);
    const long long place = ((long long)batch * a.heads + head) * a.queries;
    u32 key[CHUNKS][2], value[CHUNKS][2];
    hold(key, first_token(a.key, batch, head), a.key.token, first, a.keys);
    hold(value, first_token(a.value, batch, head), a.value.token, first, a.keys);

    float of_key[CHUNKS][4] = {}, of_value[CHUNKS][4] = {};
    const int tiles = (a.queries + TILE - 1) / TILE;
    load(query, a.query.token, gradient, a.gradient.token, 0, a.queries, shared);
    for (int tile = 0; tile < tiles; ++tile) {
        const u16 *queries = shared + tile % 2 * 2 * TILE * APART, *gradients = queries + TILE * APART;
        if (tile + 1 < tiles)
            load(query, a.query.token, gradient, a.gradient.token, (tile + 1) * TILE, a.queries,
                 shared + (tile + 1) % 2 * 2 * TILE * APART);
        wait_for_tile(tile + 1 < tiles);
        if (first < a.keys) {
#pragma unroll
            for (int pair = 0; pair < TILE / 16; ++pair) {
                if (tile * TILE + pair * 16 >= a.queries) continue;
                // Keys are rows here, and queries columns.
                float scores[2][4] = {}, of_weights[2][4] = {};
                with_each(scores[0], scores[1], key, queries + pair * 16 * APART);
                with_each(of_weights[0], of_weights[1], value, gradients + pair * 16 * APART);
#pragma unroll
                for (int side = 0; side < 2; ++side)
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const int at = first + lane / 4 + i / 2 * 8;
                        const int row = tile * TILE + pair * 16 + side * 8 + lane % 4 * 2 + i % 2;
                        const bool there = row < a.queries;
                        const float logarithm = there ? a.logarithms[place + row] : INFINITY;
                        const float along = there ? a.along[place + row] : 0;
                        differentiate(a, scores[side][i], of_weights[side][i], row, at, batch, head, logarithm, along);
                    }
                weighted(of_value, scores[0], scores[1], gradients + pair * 16 * APART);
                weighted(of_key, of_weights[0], of_weights[1], queries + pair * 16 * APART);
            }
        }
        __syncthreads();
    }
    const float whole[2] = {1, 1};
    write(a.of_key, a.single, of_key, whole, first, a.keys, a.heads, batch, head);
    write(a.of_value, a.single, of_value, whole, first, a.keys, a.heads, batch, head);
}
