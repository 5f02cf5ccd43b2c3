// Layer norm and its gradients, a warp a row, which is read once.
//
// The compiler is given WIDTH, the numbers of a row: a multiple of 128.

constexpr int PARTS = WIDTH / 128;

// `x` is in single precision or in 16 bits, so are its result and gradients; and so, for themselves, are the parameters.
struct Arguments {
    const void *x, *weight, *bias;
    void *result;
    int rows, single, single_parameters;
    float epsilon;
};

struct Backward {
    // `gradient` is that of the result.
    const void *x, *weight, *gradient;
    void *of_x;
    // A row for each warp, always in single precision: the sum of what the rows that the warp had come to.
    float *of_weight, *of_bias;
    int rows, single, single_parameters;
    float epsilon;
};

__device__ __forceinline__ float over_lanes(float x, int lane) {
    for (int other = 16; other > 0; other /= 2) x += of_lane(x, lane ^ other);
    return x;
}

// The numbers from `4 * at` on.
__device__ __forceinline__ float4 four(const void *numbers, long long at, bool single) {
    if (single) return static_cast<const float4 *>(numbers)[at];
    const uint2 x = static_cast<const uint2 *>(numbers)[at];
    return make_float4(number(static_cast<u16>(x.x)), number(static_cast<u16>(x.x >> 16)),
                       number(static_cast<u16>(x.y)), number(static_cast<u16>(x.y >> 16)));
}

__device__ __forceinline__ void put_four(void *numbers, long long at, bool single, float4 x) {
    if (single)
        static_cast<float4 *>(numbers)[at] = x;
    else
        static_cast<uint2 *>(numbers)[at] = make_uint2(rounded(x.x, x.y), rounded(x.z, x.w));
}

__device__ __forceinline__ float sum_of(float4 x) { return (x.x + x.y) + (x.z + x.w); }

__device__ __forceinline__ float4 times(float4 x, float4 y) { return make_float4(x.x * y.x, x.y * y.y, x.z * y.z, x.w * y.w); }

__device__ __forceinline__ void add(float4 &sum, float4 x) { sum = make_float4(sum.x + x.x, sum.y + x.y, sum.z + x.z, sum.w + x.w); }

// Reads a row and takes its mean off; gives one over its deviation.
__device__ __forceinline__ float centred(float4 (&x)[PARTS], const void *numbers, long long row, bool single, float epsilon) {
    const int lane = threadIdx.x % 32;
    float sum = 0;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        x[part] = four(numbers, row * (WIDTH / 4) + part * 32 + lane, single);
        sum += sum_of(x[part]);
    }
    const float mean = over_lanes(sum, lane) / WIDTH;
    float squares = 0;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        float4 &y = x[part];
        y = make_float4(y.x - mean, y.y - mean, y.z - mean, y.w - mean);
        squares += sum_of(times(y, y));
    }
    return 1 / sqrtf(over_lanes(squares, lane) / WIDTH + epsilon);
}

extern "C" __global__ void layer_norm(const Arguments a) {
    const int lane = threadIdx.x % 32;
    const long long row = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= a.rows) return;
    float4 x[PARTS];
    const float scale = centred(x, a.x, row, a.single, a.epsilon);
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        const int at = part * 32 + lane;
        const float4 weight = four(a.weight, at, a.single_parameters), bias = four(a.bias, at, a.single_parameters), y = x[part];
        const float4 result = make_float4(y.x * scale * weight.x + bias.x, y.y * scale * weight.y + bias.y,
                                          y.z * scale * weight.z + bias.z, y.w * scale * weight.w + bias.w);
        put_four(a.result, row * (WIDTH / 4) + at, a.single, result);
    }
}

template <bool PARAMETERS> __device__ __forceinline__ void gradients(const Backward &a) {
    const int lane = threadIdx.x % 32;
    const long long warps = (long long)gridDim.x * (blockDim.x / 32);
    const long long warp = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    constexpr int SUMS = PARAMETERS ? PARTS : 1;
    float4 of_weight[SUMS] = {}, of_bias[SUMS] = {};
    for (long long row = warp; row < a.rows; row += warps) {
        float4 x[PARTS], y[PARTS];
        const float scale = centred(x, a.x, row, a.single, a.epsilon);
        float sum = 0, along = 0;
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            const int at = part * 32 + lane;
            const float4 gradient = four(a.gradient, row * (WIDTH / 4) + at, a.single), weight = four(a.weight, at, a.single_parameters);
            x[part] = times(x[part], make_float4(scale, scale, scale, scale));
            if (PARAMETERS) {
                add(of_weight[part % SUMS], times(gradient, x[part]));
                add(of_bias[part % SUMS], gradient);
            }
            y[part] = times(gradient, weight);
            sum += sum_of(y[part]);
            along += sum_of(times(y[part], x[part]));
        }
        sum = over_lanes(sum, lane) / WIDTH;
        along = over_lanes(along, lane) / WIDTH;
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            const float4 g = y[part], n = x[part];
            const float4 of_x = make_float4(scale * (g.x - sum - n.x * along), scale * (g.y - sum - n.y * along),
                                            scale * (g.z - sum - n.z * along), scale * (g.w - sum - n.w * along));
            put_four(a.of_x, row * (WIDTH / 4) + part * 32 + lane, a.single, of_x);
        }
    }
    if (PARAMETERS)
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            put_four(a.of_weight, warp * (WIDTH / 4) + part * 32 + lane, true, of_weight[part % SUMS]);
            put_four(a.of_bias, warp * (WIDTH / 4) + part * 32 + lane, true, of_bias[part % SUMS]);
        }
}

extern "C" __global__ void layer_norm_backward(const Backward a) { gradients<true>(a); }

extern "C" __global__ void layer_norm_backward_of_x(const Backward a) { gradients<false>(a); }
