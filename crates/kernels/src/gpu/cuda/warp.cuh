// Instructions of NVIDIA's GPUs from Ampere on that a warp of 32 threads carries out together, by the names that the kernels use.

typedef unsigned short u16; // also a number of 16 bits: bfloat16, or IEEE's half precision where HALF is defined
typedef unsigned int u32;   // also two such numbers, the first in the low half

#ifdef HALF
#define FORMAT "f16"
#else
#define FORMAT "bf16"
#endif

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

__device__ __forceinline__ u32 shared_address(const void *pointer) {
    return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

// 16 bytes from global to shared memory, in the background; zeros where they are not `there`.
__device__ __forceinline__ void copy_16_bytes(void *to, const void *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(there ? 16 : 0));
}

__device__ __forceinline__ void end_of_copies() { asm volatile("cp.async.commit_group;"); }

__device__ __forceinline__ void wait_for_all_copies() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

__device__ __forceinline__ void wait_for_all_copies_but_the_last() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }

// Matrices of 8 by 8 numbers of 16 bits: of each, eight lanes give the addresses of its rows, and lane l gets the numbers 2 (l % 4) and the next
// of row l / 4; transposed, those of column l / 4.
__device__ __forceinline__ void load_4_matrices(u32 (&to)[4], const u16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void load_4_matrices_transposed(u32 (&to)[4], const u16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void load_2_matrices(u32 (&to)[2], const u16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void load_2_matrices_transposed(u32 (&to)[2], const u16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(shared_address(row))
                 : "memory");
}

// sum += a b, of 16 by 16 and 16 by 8 numbers of 16 bits.
__device__ __forceinline__ void multiply_16(float *sum, const u32 *a, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." FORMAT "." FORMAT ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// As that, of 16 by 8 and 8 by 8.
__device__ __forceinline__ void multiply_8(float *sum, const u32 *a, u32 b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32." FORMAT "." FORMAT ".f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}

// What lane `lane` has of `x`.
__device__ __forceinline__ float of_lane(float x, int lane) { return __shfl_sync(0xffffffff, x, lane); }

__device__ __forceinline__ float power_of_2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float logarithm_to_2(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Two numbers in 16 bits each.
__device__ __forceinline__ u32 rounded(float low, float high) {
    u32 y;
    asm("cvt.rn." FORMAT "x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

__device__ __forceinline__ float number(u16 x) {
#ifdef HALF
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
#else
    return __uint_as_float(static_cast<u32>(x) << 16);
#endif
}
