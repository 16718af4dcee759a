// What differs between a GPU (NVRTC) and a processor (g++); everything after this file is the same text for both.
//
// A group of LANES neighbouring rollouts goes through the equations together: one on a GPU, whose threads are the
// lanes, and as many as a vector register holds elsewhere. Loops over lanes are what a compiler turns into vectors.

#if defined(__CUDACC__)

typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

#define INFINITY __int_as_float(0x7f800000)

#define KERNEL extern "C" __global__ void
#define INLINE __device__ __forceinline__
#define LANES 1
#define EACH_LANE(lane) for (int lane = 0; lane < LANES; ++lane)
#define EACH_GROUP(first, count) \
    for (int first = blockIdx.x * blockDim.x + threadIdx.x; first < (count); first += gridDim.x * blockDim.x)
#define EACH_BLOCK(index, count) for (int index = blockIdx.x; index < (count); index += gridDim.x)
#define EACH_THREAD(index, count) for (int index = threadIdx.x; index < (count); index += blockDim.x)
#define FIRST_THREAD (threadIdx.x == 0)
#define UNROLLED _Pragma("unroll")

// Sum, or largest, over the threads of a block, known to all of them; always in the same order.
template <class Join>
INLINE double block_join(double value, Join join) {
    __shared__ double shared[32];
    for (int offset = 16; offset > 0; offset /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, offset));
    const int warps = blockDim.x / 32;
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    value = shared[0];
    for (int warp = 1; warp < warps; ++warp) value = join(value, shared[warp]);
    __syncthreads();
    return value;
}

#else

#include <math.h>
#include <stdint.h>

#define KERNEL extern "C" void
#define INLINE inline __attribute__((always_inline))
#define LANES 16
#define EACH_LANE(lane) _Pragma("omp simd") for (int lane = 0; lane < LANES; ++lane)
#define EACH_GROUP(first, count) _Pragma("omp parallel for num_threads(threads)") for (int first = 0; first < (count); first += LANES)
#define EACH_BLOCK(index, count) _Pragma("omp parallel for num_threads(threads)") for (int index = 0; index < (count); ++index)
#define EACH_THREAD(index, count) for (int index = 0; index < (count); ++index)
#define FIRST_THREAD true
#define UNROLLED _Pragma("GCC unroll 16")

#if defined(__x86_64__) && defined(__GLIBC__)
// The C library has vector versions of these, which its header offers only together with -ffast-math, whose promise
// that nothing is ever infinite or not a number would be false here. (cosf is not built in (-fno-builtin-cosf): beside a
// sinf it would become sincosf, which has none.)
extern "C" {
#pragma omp declare simd notinbranch
float sinf(float) noexcept;
#pragma omp declare simd notinbranch
float cosf(float) noexcept __attribute__((const));
#pragma omp declare simd notinbranch
float tanf(float) noexcept;
#pragma omp declare simd notinbranch
float atanf(float) noexcept;
#pragma omp declare simd notinbranch
float atan2f(float, float) noexcept;
#pragma omp declare simd notinbranch
float tanhf(float) noexcept;
#pragma omp declare simd notinbranch
float expf(float) noexcept;
#pragma omp declare simd notinbranch
float expm1f(float) noexcept;
#pragma omp declare simd notinbranch
float logf(float) noexcept;
}
#endif

template <class Join>
INLINE double block_join(double value, Join) {
    return value;
}

static int threads = 1;

KERNEL set_threads(int count) { threads = count; }

#endif

struct Sum {
    INLINE double operator()(double a, double b) const { return a + b; }
};

struct Largest {
    INLINE double operator()(double a, double b) const { return b > a ? b : a; }
};

INLINE float least(float a, float b) { return b < a ? b : a; }  // not a number in the first argument stays
INLINE float most(float a, float b) { return b > a ? b : a; }
INLINE float clamped(float value, float low, float high) { return least(most(value, low), high); }
INLINE float squared(float value) { return value * value; }

#if defined(__CUDACC__)
INLINE float inlined_expf(float x) { return expf(x); }
#else
// e^x between 2^-126 and 2^126, to 3e-7 of itself where x is small. A call of the library's, which has to put away all
// vector registers around it, takes twice as long. The polynomial is the minimax one of 2^f for |f| <= 1/2.
INLINE float inlined_expf(float x) {
    const float y = 1.442695041f * x, whole = rintf(y), f = y - whole;
    float power = 1.327647012e-3f;
    power = power * f + 9.675541320e-3f;
    power = power * f + 5.550713279e-2f;
    power = power * f + 2.402211972e-1f;
    power = power * f + 6.931469671e-1f;
    power = power * f + 1.000000072f;
    int exponent = (int)whole, bits;
    exponent = exponent > -126 ? exponent : -126;
    __builtin_memcpy(&bits, &power, sizeof bits);
    bits += exponent * (1 << 23);
    __builtin_memcpy(&power, &bits, sizeof bits);
    return power;
}
#endif
