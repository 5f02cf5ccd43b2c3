// Attention and its gradients in single precision throughout, where rounded scores would lead astray: a warp for each query, or each key,
// and a lane for each of the 32 tokens of a tile that it looks at. No score is written to memory, and no sum is made by several warps.
//
// The compiler is given WIDTH, the numbers of a head.

constexpr int TILE = 32;
// Numbers of a lane, where a warp shares a head.
constexpr int PARTS = (WIDTH + 31) / 32;
// Numbers from one token to the next in shared memory: odd, so that 32 tokens lie in different banks.
constexpr int APART = WIDTH | 1;
constexpr float LOG2_E = 1.4426950408889634f;

struct Operand {
    const float *numbers;
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
    // [batch, queries, heads, WIDTH].
    float *result;
    // Of the sum of powers of each query, [batch, heads, queries], to the base of two; infinite where a query sees nothing.
    float *logarithms;
    int heads, heads_per_key, queries, keys;
    int causal, single;
    float scale;
};

struct Backward {
    // `gradient` is that of the result; all have as many heads.
    Operand query, key, value, gradient;
    Bias bias;
    // [batch, queries, heads, WIDTH], as the forward pass gave it.
    const float *result;
    // [batch, heads, queries].
    const float *logarithms;
    // What each query takes off the gradients of its weights, [batch, heads, queries]: written by the first kernel, read by the second.
    float *along;
    // [batch, tokens, heads, WIDTH].
    float *of_query, *of_key, *of_value;
    int heads, queries, keys;
    int causal, single;
    float scale;
};

__device__ __forceinline__ const float *first_token(const Operand &x, int batch, int head) {
    return x.numbers + batch * x.row + head * x.head;
}

// Tokens `first` to `first + TILE` of two operands in shared memory, zeros where there are none. All of a block take part.
__device__ __forceinline__ void load(const float *a, long long a_apart, const float *b, long long b_apart, int first, int tokens,
                                     float *tile) {
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * WIDTH; i += blockDim.x) {
        const int token = i / WIDTH, place = i % WIDTH, at = first + token;
        tile[token * APART + place] = at < tokens ? a[at * a_apart + place] : 0;
        tile[(TILE + token) * APART + place] = at < tokens ? b[at * b_apart + place] : 0;
    }
    __syncthreads();
}

// A warp's own token of two operands in shared memory; zeros where there is none.
__device__ __forceinline__ void hold(float *own, const float *a, long long a_apart, const float *b, long long b_apart, int token,
                                     bool there) {
    for (int place = threadIdx.x % 32; place < WIDTH; place += 32) {
        own[place] = there ? a[token * a_apart + place] : 0;
        own[WIDTH + place] = there ? b[token * b_apart + place] : 0;
    }
}

__device__ __forceinline__ float product(const float *own, const float *token) {
    float sum = 0;
#pragma unroll 16
    for (int place = 0; place < WIDTH; ++place) sum += own[place] * token[place];
    return sum;
}

// sum += what each lane has as `weight` times its token.
__device__ __forceinline__ void weighted(float (&sum)[PARTS], float weight, const float *tokens) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int token = 0; token < TILE; ++token) {
        const float of_token = of_lane(weight, token);
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            const int place = part * 32 + lane;
            if (place < WIDTH) sum[part] += of_token * tokens[token * APART + place];
        }
    }
}

__device__ __forceinline__ float over_lanes(float x) {
    const int lane = threadIdx.x % 32;
    for (int other = 16; other > 0; other /= 2) x += of_lane(x, lane ^ other);
    return x;
}

__device__ __forceinline__ float largest_of_lanes(float x) {
    const int lane = threadIdx.x % 32;
    for (int other = 16; other > 0; other /= 2) x = fmaxf(x, of_lane(x, lane ^ other));
    return x;
}

// Writes a warp's token of `[batch, tokens, heads, WIDTH]`.
__device__ __forceinline__ void write(float *result, const float (&sum)[PARTS], float scale, int token, int tokens, int heads) {
    const int lane = threadIdx.x % 32;
    if (token >= tokens) return;
    float *to = result + (((long long)blockIdx.z * tokens + token) * heads + blockIdx.y) * WIDTH;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        const int place = part * 32 + lane;
        if (place < WIDTH) to[place] = sum[part] * scale;
    }
}

// A score as a power of two, minus infinity where a query must not see a key, or one of them is none.
template <class Arguments_>
__device__ __forceinline__ float power_of(const Arguments_ &a, float product, int row, int at) {
    const bool hidden = at >= a.keys || row >= a.queries || (a.causal && at > row + a.keys - a.queries);
    if (hidden) return -INFINITY;
    const float power = product * (a.scale * LOG2_E);
    if (a.bias.numbers == nullptr) return power;
    return power + LOG2_E * a.bias.numbers[blockIdx.z * a.bias.row + blockIdx.y * a.bias.head + row * a.bias.query + at * a.bias.key];
}

extern "C" __global__ void attention_single(const Arguments a) {
    extern __shared__ __align__(16) u16 shared[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int head = blockIdx.y, batch = blockIdx.z, row = blockIdx.x * warps + warp;
    float *keys = reinterpret_cast<float *>(shared), *values = keys + TILE * APART, *own = values + TILE * APART + warp * 2 * WIDTH;
    const float *query = first_token(a.query, batch, head);
    const float *key = first_token(a.key, batch, head / a.heads_per_key), *value = first_token(a.value, batch, head / a.heads_per_key);
    hold(own, query, a.query.token, query, a.query.token, row, row < a.queries);

    float sum[PARTS] = {}, largest = -INFINITY, total = 0;
    int reach = a.keys;
    // The last query sees all keys, those before it see as many fewer.
    if (a.causal) reach = min(reach, (int)(blockIdx.x + 1) * warps + a.keys - a.queries);
    for (int first = 0; first < reach; first += TILE) {
        load(key, a.key.token, value, a.value.token, first, a.keys, keys);
        const float power = power_of(a, product(own, keys + lane * APART), row, first + lane);
        const float most = fmaxf(largest, largest_of_lanes(power)), base = most == -INFINITY ? 0 : most;
        const float factor = power_of_2(largest - base), weight = power_of_2(power - base);
        largest = most;
        total = total * factor + over_lanes(weight);
#pragma unroll
        for (int part = 0; part < PARTS; ++part) sum[part] *= factor;
        weighted(sum, weight, values);
    }
    write(a.result, sum, total > 0 ? 1 / total : 0, row, a.queries, a.heads);
    if (lane == 0 && row < a.queries)
        a.logarithms[((long long)batch * a.heads + head) * a.queries + row] = total > 0 ? largest + logarithm_to_2(total) : INFINITY;
}

extern "C" __global__ void attention_single_backward_of_query(const Backward a) {
    extern __shared__ __align__(16) u16 shared[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int head = blockIdx.y, batch = blockIdx.z, row = blockIdx.x * warps + warp;
    const bool there = row < a.queries;
    float *keys = reinterpret_cast<float *>(shared), *values = keys + TILE * APART, *own = values + TILE * APART + warp * 2 * WIDTH;
    const float *key = first_token(a.key, batch, head), *value = first_token(a.value, batch, head);
    const float *gradient = first_token(a.gradient, batch, head);
    hold(own, first_token(a.query, batch, head), a.query.token, gradient, a.gradient.token, row, there);

    const long long place = ((long long)batch * a.heads + head) * a.queries + row;
    const float *result = a.result + (((long long)batch * a.queries + row) * a.heads + head) * WIDTH;
    float along = 0;
    for (int i = lane; there && i < WIDTH; i += 32) along += result[i] * gradient[row * a.gradient.token + i];
    along = over_lanes(along);
    const float logarithm = there ? a.logarithms[place] : INFINITY;
    if (there && lane == 0) a.along[place] = along;

    float sum[PARTS] = {};
    int reach = a.keys;
    if (a.causal) reach = min(reach, (int)(blockIdx.x + 1) * warps + a.keys - a.queries);
    for (int first = 0; first < reach; first += TILE) {
        load(key, a.key.token, value, a.value.token, first, a.keys, keys);
        const float weight = power_of_2(power_of(a, product(own, keys + lane * APART), row, first + lane) - logarithm);
        const float of_weight = product(own + WIDTH, values + lane * APART);
        weighted(sum, weight * (of_weight - along) * a.scale, keys);
    }
    write(a.of_query, sum, 1, row, a.queries, a.heads);
}

extern "C" __global__ void attention_single_backward_of_keys(const Backward a) {
    extern __shared__ __align__(16) u16 shared[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int head = blockIdx.y, batch = blockIdx.z, at = blockIdx.x * warps + warp;
    float *queries = reinterpret_cast<float *>(shared), *gradients = queries + TILE * APART;
    float *own = gradients + TILE * APART + warp * 2 * WIDTH;
    const float *query = first_token(a.query, batch, head), *gradient = first_token(a.gradient, batch, head);
    hold(own, first_token(a.key, batch, head), a.key.token, first_token(a.value, batch, head), a.value.token, at, at < a.keys);

    const long long place = ((long long)batch * a.heads + head) * a.queries;
    float of_key[PARTS] = {}, of_value[PARTS] = {};
    for (int first = 0; first < a.queries; first += TILE) {
        load(query, a.query.token, gradient, a.gradient.token, first, a.queries, queries);
        const int row = first + lane;
        const bool there = row < a.queries;
        const float logarithm = there ? a.logarithms[place + row] : INFINITY, along = there ? a.along[place + row] : 0;
        const float weight = power_of_2(power_of(a, product(own, queries + lane * APART), row, at) - logarithm);
        const float of_weight = product(own + WIDTH, gradients + lane * APART);
        weighted(of_value, weight, gradients);
        weighted(of_key, weight * (of_weight - along) * a.scale, queries);
    }
    write(a.of_key, of_key, 1, at, a.keys, a.heads);
    write(a.of_value, of_value, 1, at, a.keys, a.heads);
}
