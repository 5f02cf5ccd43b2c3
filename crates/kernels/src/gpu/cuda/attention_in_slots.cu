// Attention of a token of each row to tokens that were read before, in single precision. Each of those lies in a slot of its own; a table
// says in which, so that rows of any length stand side by side, and the beams of a text share the slots of its beginning. A block has a
// head of a row, and each of its warps some of the tokens: softmax as it goes, all warps' sums put together at the end.
//
// The compiler is given WIDTH, the numbers of a head.

// Numbers of a lane.
constexpr int PARTS = (WIDTH + 31) / 32;
constexpr float LOG2_E = 1.4426950408889634f;

template <class Number> struct Operand {
    const Number *numbers;
    // Numbers from one row of the batch, head, or token to the next.
    long long row, head, token;
};

template <class Number> struct Written {
    // [rows, heads, tokens, WIDTH].
    Operand<Number> key, value;
    // [slots, heads, WIDTH].
    Number *keys, *values;
    // Of the first token of the first row.
    long long first;
    int heads, tokens;
};

struct Bias {
    // None where this is null; [rows, heads, 1, most] or broadcast to it.
    const float *numbers;
    long long row, head, query, key;
};

template <class Number> struct Arguments {
    // [rows, heads, 1, WIDTH].
    Operand<Number> query;
    // [slots, key heads, WIDTH].
    const Number *keys, *values;
    // [rows, 1 + most]: how many, and the slots.
    const int *table;
    Bias bias;
    // [rows, 1, heads, WIDTH].
    Number *result;
    int heads, heads_per_key, most;
    float scale;
};

__device__ __forceinline__ float single(float x) { return x; }
__device__ __forceinline__ float single(u16 x) { return number(x); }
__device__ __forceinline__ void put(float *to, float x) { *to = x; }
__device__ __forceinline__ void put(u16 *to, float x) { *to = static_cast<u16>(rounded(x, 0)); }

__device__ __forceinline__ float over_lanes(float x) {
    const int lane = threadIdx.x % 32;
    for (int other = 16; other > 0; other /= 2) x += of_lane(x, lane ^ other);
    return x;
}

// A block for each token of each row.
template <class Number> __device__ __forceinline__ void write(const Written<Number> &a) {
    const int token = blockIdx.x, row = blockIdx.y, count = a.heads * WIDTH;
    const long long to = (a.first + (long long)row * a.tokens + token) * count;
    const Number *key = a.key.numbers + row * a.key.row + token * a.key.token;
    const Number *value = a.value.numbers + row * a.value.row + token * a.value.token;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const int head = i / WIDTH, place = i % WIDTH;
        a.keys[to + i] = key[head * a.key.head + place];
        a.values[to + i] = value[head * a.value.head + place];
    }
}

template <class Number> __device__ __forceinline__ void attend(const Arguments<Number> &a) {
    extern __shared__ __align__(16) u16 shared[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32, head = blockIdx.x, row = blockIdx.y;
    const int *slots = a.table + (long long)row * (1 + a.most);
    const int tokens = *slots++;
    const Number *query = a.query.numbers + row * a.query.row + head * a.query.head;
    // From one slot to the next, and to this head within.
    const long long apart = (long long)(a.heads / a.heads_per_key) * WIDTH, within = (long long)(head / a.heads_per_key) * WIDTH;

    float own[PARTS], sum[PARTS] = {}, largest = -INFINITY, total = 0;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        const int place = part * 32 + lane;
        own[part] = place < WIDTH ? single(query[place]) * (a.scale * LOG2_E) : 0;
    }
    for (int token = warp; token < tokens; token += warps) {
        const Number *key = a.keys + slots[token] * apart + within, *value = a.values + slots[token] * apart + within;
        float power = 0, of_value[PARTS];
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            const int place = part * 32 + lane;
            power += place < WIDTH ? own[part] * single(key[place]) : 0;
            of_value[part] = place < WIDTH ? single(value[place]) : 0;
        }
        power = over_lanes(power);
        if (a.bias.numbers != nullptr) power += LOG2_E * a.bias.numbers[row * a.bias.row + head * a.bias.head + token * a.bias.key];
        const float most = fmaxf(largest, power), base = most == -INFINITY ? 0 : most;
        const float factor = power_of_2(largest - base), weight = power_of_2(power - base);
        largest = most;
        total = total * factor + weight;
#pragma unroll
        for (int part = 0; part < PARTS; ++part) sum[part] = sum[part] * factor + weight * of_value[part];
    }

    // Of each warp: the largest power, the sum of powers, and the weighted values.
    float *said = reinterpret_cast<float *>(shared), *mine = said + warp * (2 + WIDTH);
    if (lane == 0) mine[0] = largest, mine[1] = total;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        const int place = part * 32 + lane;
        if (place < WIDTH) mine[2 + place] = sum[part];
    }
    __syncthreads();
    float most = -INFINITY;
    for (int other = 0; other < warps; ++other) most = fmaxf(most, said[other * (2 + WIDTH)]);
    const float base = most == -INFINITY ? 0 : most;
    float all = 0;
    for (int other = 0; other < warps; ++other) all += power_of_2(said[other * (2 + WIDTH)] - base) * said[other * (2 + WIDTH) + 1];
    Number *result = a.result + ((long long)row * a.heads + head) * WIDTH;
    for (int place = threadIdx.x; place < WIDTH; place += blockDim.x) {
        float of_all = 0;
        for (int other = 0; other < warps; ++other) {
            const float *theirs = said + other * (2 + WIDTH);
            of_all += power_of_2(theirs[0] - base) * theirs[2 + place];
        }
        // Not a number stays none.
        put(result + place, all == 0 ? 0 : of_all / all);
    }
}

extern "C" __global__ void write_slots(const Written<float> a) { write(a); }
extern "C" __global__ void write_slots_16(const Written<u16> a) { write(a); }
extern "C" __global__ void attention_in_slots(const Arguments<float> a) { attend(a); }
extern "C" __global__ void attention_in_slots_16(const Arguments<u16> a) { attend(a); }
