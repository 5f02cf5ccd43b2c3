// Number by number: the activation of BERT and ViT, its gradient, a step of the optimiser, and rounding, each with one pass over memory.
//
// The compiler is given WIDTH, 1 where numbers are in single precision and 2 where they are in 16 bits and a thread takes two.

struct Activation {
    // `gradient` is that of the result; the activation itself has none.
    const void *x, *gradient;
    void *result;
    long long count;
};

__device__ __forceinline__ float normal_distribution(float x) { return 0.5f * (1 + erff(x * 0.70710678118654752f)); }

// x Phi(x).
__device__ __forceinline__ float gelu_of(float x) { return x * normal_distribution(x); }

// Phi(x) + x phi(x).
__device__ __forceinline__ float slope_of(float x) {
    return normal_distribution(x) + x * 0.39894228040143268f * expf(-0.5f * x * x);
}

__device__ __forceinline__ long long first_of_this() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

extern "C" __global__ void gelu(const Activation a) {
    const long long at = first_of_this();
    if (at * WIDTH >= a.count) return;
    if (WIDTH == 1) {
        static_cast<float *>(a.result)[at] = gelu_of(static_cast<const float *>(a.x)[at]);
    } else {
        const u32 x = static_cast<const u32 *>(a.x)[at];
        static_cast<u32 *>(a.result)[at] =
            rounded(gelu_of(number(static_cast<u16>(x))), gelu_of(number(static_cast<u16>(x >> 16))));
    }
}

extern "C" __global__ void gelu_backward(const Activation a) {
    const long long at = first_of_this();
    if (at * WIDTH >= a.count) return;
    if (WIDTH == 1) {
        const float slope = slope_of(static_cast<const float *>(a.x)[at]);
        static_cast<float *>(a.result)[at] = slope * static_cast<const float *>(a.gradient)[at];
    } else {
        const u32 x = static_cast<const u32 *>(a.x)[at], gradient = static_cast<const u32 *>(a.gradient)[at];
        static_cast<u32 *>(a.result)[at] =
            rounded(slope_of(number(static_cast<u16>(x))) * number(static_cast<u16>(gradient)),
                    slope_of(number(static_cast<u16>(x >> 16))) * number(static_cast<u16>(gradient >> 16)));
    }
}

struct Step {
    const float *parameter, *gradient, *first, *second;
    // On the gradient. Where it is NaN, all stays as it is.
    const float *scale;
    float *new_parameter, *new_first, *new_second;
    long long count;
    // What is kept of the parameter; decay of the moments and what comes in instead; factors of update and of second moment.
    float kept, beta1, rest1, beta2, rest2, rate, correction, epsilon;
};

// AdamW (Loshchilov and Hutter, 2019).
extern "C" __global__ void adamw(const Step a) {
    const long long at = first_of_this();
    if (at >= a.count) return;
    const float scale = *a.scale, parameter = a.parameter[at];
    float first = a.first[at], second = a.second[at], moved = parameter;
    if (scale == scale) {
        const float gradient = a.gradient[at] * scale;
        first = first * a.beta1 + gradient * a.rest1;
        second = second * a.beta2 + gradient * gradient * a.rest2;
        moved = parameter * a.kept - first * a.rate / (sqrtf(second * a.correction) + a.epsilon);
    }
    a.new_parameter[at] = moved;
    a.new_first[at] = first;
    a.new_second[at] = second;
}

struct Squares {
    const float *x;
    // For each block; in the end the first alone, and all there is.
    double *sums;
    long long count;
    int blocks;
};

__device__ __forceinline__ double over_block(double x) {
    extern __shared__ __align__(16) u16 shared[];
    double *of_threads = reinterpret_cast<double *>(shared);
    of_threads[threadIdx.x] = x;
    for (int other = blockDim.x / 2; other > 0; other /= 2) {
        __syncthreads();
        if (threadIdx.x < other) of_threads[threadIdx.x] += of_threads[threadIdx.x + other];
    }
    return of_threads[0];
}

// Sums squares, for each block those that it has.
extern "C" __global__ void squares(const Squares a) {
    double sum = 0;
    for (long long at = first_of_this(); at < a.count; at += (long long)gridDim.x * blockDim.x) sum += (double)a.x[at] * a.x[at];
    sum = over_block(sum);
    if (threadIdx.x == 0) a.sums[1 + blockIdx.x] = sum;
}

// And then those of the blocks.
extern "C" __global__ void all_squares(const Squares a) {
    double sum = 0;
    for (int block = threadIdx.x; block < a.blocks; block += blockDim.x) sum += a.sums[1 + block];
    sum = over_block(sum);
    if (threadIdx.x == 0) a.sums[0] = sum;
}

// `x` is in single precision, the result in 16 bits.
extern "C" __global__ void round_numbers(const Activation a) {
    const long long at = first_of_this();
    if (at * 2 >= a.count) return;
    const float2 x = static_cast<const float2 *>(a.x)[at];
    static_cast<u32 *>(a.result)[at] = rounded(x.x, x.y);
}

struct Matrix {
    // [rows, columns], an even number of those.
    const float *x;
    u16 *rounded;
    // The sum of the rows that a block had, for each block: [blocks in y, columns].
    float *sums;
    int rows, columns;
};

// Rounds a matrix, and sums its rows.
extern "C" __global__ void round_and_sum(const Matrix a) {
    const int column = 2 * (int)first_of_this();
    if (column >= a.columns) return;
    float2 sum = make_float2(0, 0);
#pragma unroll 4
    for (int row = blockIdx.y; row < a.rows; row += gridDim.y) {
        const long long at = (long long)row * a.columns + column;
        const float2 x = *reinterpret_cast<const float2 *>(a.x + at);
        sum = make_float2(sum.x + x.x, sum.y + x.y);
        *reinterpret_cast<u32 *>(a.rounded + at) = rounded(x.x, x.y);
    }
    *reinterpret_cast<float2 *>(a.sums + (long long)blockIdx.y * a.columns + column) = sum;
}

struct Sums {
    // [rows, columns].
    const float *x;
    // [columns].
    float *result;
    int rows, columns;
};

// Sums rows: a warp takes 32 columns and some of the rows.
extern "C" __global__ void sum_rows(const Sums a) {
    extern __shared__ __align__(16) u16 shared[];
    float *of_warps = reinterpret_cast<float *>(shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int column = blockIdx.x * 32 + lane;
    float sum = 0;
    if (column < a.columns)
        for (int row = warp; row < a.rows; row += warps) sum += a.x[(long long)row * a.columns + column];
    of_warps[threadIdx.x] = sum;
    __syncthreads();
    if (warp > 0 || column >= a.columns) return;
    for (int other = 1; other < warps; ++other) sum += of_warps[other * 32 + lane];
    a.result[column] = sum;
}
