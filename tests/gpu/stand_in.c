// In place of NVIDIA's driver, cuBLASLt and NVRTC: takes every call that the program makes, and does nothing. Memory is addresses that
// nobody reads, what is read back is zeros, and every measured time is five milliseconds. With it the program runs where there is no GPU as
// fast as its host side can; `host.py` says how fast that is, and how much the GPU would be given.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long Address;

static long made(void) {
    static long last = 0x1000;
    return __sync_add_and_fetch(&last, 16);
}

static Address memory(size_t bytes) {
    static Address next = 0x7000000000;
    return __sync_fetch_and_add(&next, (bytes + 511) / 512 * 512);
}

// Kernels of the driver, products of the library.
static long launches, products;

// What `host.py` asks for, by a byte on the pipe that it names: how much there was since it last asked.
#include <pthread.h>
#include <unistd.h>
static void *answer(void *pipe) {
    int ask = atoi(pipe), say = ask + 1;
    char line[64];
    while (read(ask, line, 1) == 1) {
        int length = snprintf(line, sizeof line, "%ld %ld\n", launches, products);
        launches = products = 0;
        if (write(say, line, length) != length) break;
    }
    return NULL;
}
__attribute__((constructor)) static void begin(void) {
    static int begun;
    pthread_t thread;
    char *pipe = getenv("STAND_IN_PIPE");
    if (pipe && !begun++) pthread_create(&thread, NULL, answer, pipe);
}

#define NOTHING(name) int name(void) { return 0; }
#define GIVES(name) int name(long *result) { *result = made(); return 0; }

// The driver.
NOTHING(cuInit) NOTHING(cuCtxSetCurrent) NOTHING(cuCtxSynchronize) NOTHING(cuCtxRecordEvent) NOTHING(cuCtxWaitEvent)
NOTHING(cuEventRecord) NOTHING(cuEventQuery) NOTHING(cuEventSynchronize) NOTHING(cuEventDestroy_v2) NOTHING(cuStreamSynchronize)
NOTHING(cuStreamWaitEvent) NOTHING(cuStreamDestroy_v2) NOTHING(cuMemFree_v2) NOTHING(cuMemFreeAsync) NOTHING(cuMemcpyHtoDAsync_v2)
NOTHING(cuMemcpyDtoDAsync_v2) NOTHING(cuMemsetD8Async) NOTHING(cuModuleUnload) NOTHING(cuFuncSetAttribute) NOTHING(cuDevicePrimaryCtxRelease_v2)
NOTHING(cuTensorMapEncodeTiled)
GIVES(cuStreamCreate) GIVES(cuStreamCreateWithPriority) GIVES(cuEventCreate) GIVES(cuModuleLoadData) GIVES(cuModuleGetFunction)
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "stand-in"); return 0; }
int cuDeviceGetPCIBusId(char *name, int length, int device) { snprintf(name, length, "0000:00:00.0"); return 0; }
int cuDeviceGetLuid(char *luid, unsigned *mask, int device) { memset(luid, 1, 8); *mask = 1; return 0; }
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, 1, 16); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 140ull << 30; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *all) { *free = *all = 140ull << 30; return 0; }
int cuDevicePrimaryCtxRetain(long *context, int device) { *context = 0x77; return 0; }
int cuCtxGetCurrent(long *context) { *context = 0x77; return 0; }
int cuCtxGetStreamPriorityRange(int *least, int *most) { *least = 0; *most = -5; return 0; }
int cuGetErrorName(int error, const char **name) { *name = "none"; return 0; }
int cuGetErrorString(int error, const char **name) { *name = "none"; return 0; }
int cuEventElapsedTime(float *milliseconds) { *milliseconds = 5; return 0; }
int cuEventElapsedTime_v2(float *milliseconds) { *milliseconds = 5; return 0; }
int cuMemAlloc_v2(Address *address, size_t bytes) { *address = memory(bytes); return 0; }
int cuMemAllocAsync(Address *address, size_t bytes) { *address = memory(bytes); return 0; }
int cuMemAllocHost_v2(void **pointer, size_t bytes) { *pointer = malloc(bytes); return 0; }
int cuMemFreeHost(void *pointer) { free(pointer); return 0; }
int cuLaunchKernel(void) { __sync_add_and_fetch(&launches, 1); return 0; }
// Of an H200.
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    static const int known[][2] = {{1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647}, {6, 65535}, {7, 65535}, {8, 49152}, {10, 32},
                                   {12, 65536}, {16, 132}, {39, 2048}, {75, 9}, {76, 0}, {81, 233472}, {97, 232448}};
    *value = 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (known[i][0] == attribute) *value = known[i][1];
    return 0;
}
// Zeros, but for a single number: the program tries a device by a sum of a thousand ones.
static void read_back(char *to, size_t bytes) {
    float thousand = 1000;
    memset(to, 0, bytes);
    if (bytes == sizeof thousand) memcpy(to, &thousand, bytes);
}
int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes) { read_back(to, bytes); return 0; }
struct Copy { size_t x, y; int type; const void *host; Address device; void *array; size_t pitch; };
struct Copy2D { struct Copy from, to; size_t width, height; };
int cuMemcpy2DAsync_v2(const struct Copy2D *copy) {
    for (size_t row = 0; copy->to.type == 1 && row < copy->height; ++row)
        read_back((char *)copy->to.host + copy->to.x + (copy->to.y + row) * copy->to.pitch, copy->width);
    return 0;
}

// cuBLASLt.
GIVES(cublasLtCreate) GIVES(cublasLtMatmulDescCreate) GIVES(cublasLtMatrixLayoutCreate) GIVES(cublasLtMatmulPreferenceCreate)
NOTHING(cublasLtMatmulDescSetAttribute) NOTHING(cublasLtMatrixLayoutSetAttribute) NOTHING(cublasLtMatmulPreferenceSetAttribute)
NOTHING(cublasLtMatmulPreferenceDestroy)
int cublasLtMatmul(void) { __sync_add_and_fetch(&products, 1); return 0; }
struct Found { uint64_t algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; };
int cublasLtMatmulAlgoGetHeuristic(long handle, long operation, long a, long b, long c, long d, long preference, int wanted,
                                   struct Found *found, int *count) {
    memset(found, 0, sizeof *found);
    *count = 1;
    return 0;
}

// NVRTC.
GIVES(nvrtcCreateProgram) NOTHING(nvrtcCompileProgram) NOTHING(nvrtcDestroyProgram)
int nvrtcGetPTXSize(long program, size_t *bytes) { *bytes = 8; return 0; }
int nvrtcGetPTX(long program, char *text) { strcpy(text, "// none"); return 0; }
int nvrtcGetProgramLogSize(long program, size_t *bytes) { *bytes = 1; return 0; }
int nvrtcGetProgramLog(long program, char *text) { *text = 0; return 0; }
