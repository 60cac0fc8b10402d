/* Steps of a transformer layer, each in one pass over memory; see kernels.py and fast.py for what they are in PyTorch.
 *
 * A "row" is one sequence that gets its next token. Letters as in fast.py: A rows, K key heads, E query heads for each,
 * D width of a head, P slots of the trunk, T slots of a row in use. Sums are float32; what stands in memory is float32, or
 * bfloat16 where a step is given half = 1. C order.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef float lanes __attribute__((vector_size(32), aligned(4)));
typedef int whole __attribute__((vector_size(32)));
#define LANES 8

#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define INLINE static inline __attribute__((always_inline))

static inline float total(lanes x) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
}

/* The totals of eight vectors, as one vector. */
static inline lanes totals(const lanes *x) {
    lanes two[4], four[2];
    for (int i = 0; i < 4; i++)
        two[i] = MIX(x[2 * i], x[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14)
               + MIX(x[2 * i], x[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    for (int i = 0; i < 2; i++)
        four[i] = MIX(two[2 * i], two[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13)
                + MIX(two[2 * i], two[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return MIX(four[0], four[1], 0, 1, 2, 3, 8, 9, 10, 11)
         + MIX(four[0], four[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

/* Numbers in memory: float32, or bfloat16 (half), the upper half of one, rounded to even. */
typedef uint16_t halves __attribute__((vector_size(16), aligned(2)));
typedef uint32_t words __attribute__((vector_size(32)));

INLINE const void *at(const void *from, long i, const int half) {
    return (const char *)from + i * (half ? 2 : 4);
}

INLINE lanes load(const void *from, long i, const int half) {
    if (!half) return *(const lanes *)((const float *)from + i);
    return (lanes)(__builtin_convertvector(*(const halves *)((const uint16_t *)from + i), words) << 16);
}

INLINE void store(void *to, long i, lanes x, const int half) {
    if (!half) {
        *(lanes *)((float *)to + i) = x;
        return;
    }
    words w = (words)x;
    *(halves *)((uint16_t *)to + i) = __builtin_convertvector((w + 0x7fff + ((w >> 16) & 1)) >> 16, halves);
}

/* Some slots of a head as float32: where they are, or in ``near``. */
INLINE const float *widened(const void *from, float *near, long count, const int half) {
    if (!half) return from;
    for (long i = 0; i < count; i += LANES) *(lanes *)(near + i) = load(from, i, half);
    return near;
}

/* Ask for memory that is needed soon. */
INLINE void fetch(const void *from, long bytes) {
    for (long i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)from + i, 0, 3);
}

#define WIDEST 256 /* of a head */

/* scores[e][s] = q[e] . key[s] for the slots of one head, eight at a time; as many slots from ``next`` are asked for. */
INLINE void meet(
    const float *q, const void *keys, float *scores, long each, long slots, long width, long stride, const void *next,
    const int half) {
    float near[LANES * WIDEST] __attribute__((aligned(64)));
    const long bytes = LANES * width * (half ? 2 : 4);
    for (long s = 0; s < slots; s += LANES) {
        const long some = slots - s < LANES ? slots - s : LANES;
        const float *key = widened(at(keys, s * width, half), near, some * width, half);
        if (next && some == LANES) fetch((const char *)next + s / LANES * bytes, bytes);
        for (long e = 0; e < each; e++) {
            if (some == LANES) {
                lanes sum[LANES] = {{0}};
                for (long d = 0; d < width; d += LANES) {
                    lanes part = *(const lanes *)(q + e * width + d);
                    for (long i = 0; i < LANES; i++) sum[i] += part * *(const lanes *)(key + i * width + d);
                }
                *(lanes *)(scores + e * stride + s) = totals(sum);
                continue;
            }
            for (long i = 0; i < some; i++) {
                lanes sum = {0};
                for (long d = 0; d < width; d += LANES)
                    sum += *(const lanes *)(q + e * width + d) * *(const lanes *)(key + i * width + d);
                scores[e * stride + s + i] = total(sum);
            }
        }
    }
}

/* out[e] += sum over s of probs[e][s] * value[s]; two slots at a time, so that sums do not wait for each other. */
INLINE void gather_some(const float *probs, const float *values, float *out, long each, long slots, long width, long stride) {
    for (long e = 0; e < each; e++) {
        const float *by = probs + e * stride;
        for (long d = 0; d < width; d += 4 * LANES) {
            const long parts = width - d < 4 * LANES ? (width - d) / LANES : 4;
            lanes even[4] = {{0}}, odd[4] = {{0}};
            long s = 0;
            for (; s + 2 <= slots; s += 2) {
                const float *value = values + s * width + d;
                for (long i = 0; i < parts; i++) {
                    even[i] += by[s] * *(const lanes *)(value + i * LANES);
                    odd[i] += by[s + 1] * *(const lanes *)(value + width + i * LANES);
                }
            }
            for (; s < slots; s++)
                for (long i = 0; i < parts; i++) even[i] += by[s] * *(const lanes *)(values + s * width + d + i * LANES);
            for (long i = 0; i < parts; i++) *(lanes *)(out + e * width + d + i * LANES) += even[i] + odd[i];
        }
    }
}

/* The same from memory of either kind; what is bfloat16 is widened sixteen slots at a time, once for all queries. */
#define TILE 16
INLINE void gather(
    const float *probs, const void *values, float *out, long each, long slots, long width, long stride, const int half) {
    if (!half) {
        gather_some(probs, values, out, each, slots, width, stride);
        return;
    }
    float near[TILE * WIDEST] __attribute__((aligned(64)));
    for (long s = 0; s < slots; s += TILE) {
        const long some = slots - s < TILE ? slots - s : TILE;
        gather_some(probs + s, widened(at(values, s * width, half), near, some * width, half), out, each, some, width, stride);
    }
}

/* e^x for x <= 0 to a relative 1e-7: 2^n times a polynomial (Cephes); very negative x gives 0. */
static inline lanes exponential(lanes x) {
    lanes low = (lanes){0} - 87.0f;
    whole under = x < low;
    x = (lanes)(((whole)low & under) | ((whole)x & ~under));
    whole n = __builtin_convertvector(x * 1.44269504f - 0.5f, whole);
    lanes r = x - __builtin_convertvector(n, lanes) * 0.693359375f + __builtin_convertvector(n, lanes) * 2.12194440e-4f;
    lanes y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    return y * (lanes)((n + 127) << 23);
}

/* scores become e^(score - largest); their sum. Room for LANES more scores behind the last one is written over. */
INLINE float soften(float *scores, const float *bias, long count) {
    float most = -INFINITY;
    if (bias) for (long s = 0; s < count; s++) scores[s] += bias[s];
    for (long s = 0; s < count; s++) most = scores[s] > most ? scores[s] : most;
    for (long s = count; s % LANES; s++) scores[s] = -1e30f;
    lanes sum = {0};
    for (long s = 0; s < count; s += LANES) {
        lanes y = exponential(*(lanes *)(scores + s) - most);
        *(lanes *)(scores + s) = y;
        sum += y;
    }
    for (long s = count; s % LANES; s++) sum[s % LANES] -= scores[s];
    return total(sum);
}

/* Neighbouring numbers as complex ones, turned; (a, b) (c, d) = (ac - bd, ad + bc), four pairs at a time. */
INLINE void turn(const void *x, const float *by, void *out, long width, const int from_half, const int to_half) {
    const lanes sign = {-1, 1, -1, 1, -1, 1, -1, 1};
    for (long d = 0; d < width; d += LANES) {
        lanes a = load(x, d, from_half), c = *(const lanes *)(by + d);
        lanes swapped = MIX(a, a, 1, 0, 3, 2, 5, 4, 7, 6);
        lanes real = MIX(c, c, 0, 0, 2, 2, 4, 4, 6, 6), imaginary = MIX(c, c, 1, 1, 3, 3, 5, 5, 7, 7);
        store(out, d, a * real + swapped * imaginary * sign, to_half);
    }
}

/* All arguments of attend, in one place. */
typedef struct {
    const void *qkv, *trunk_k, *trunk_v;
    const float *turns, *bias;
    void *own_k, *own_v, *out;
    long heads, each, room, slot, trunk_room, shared, bias_stride;
} Step;

/* Where the slots of a row begin, and its scratch: queries (E, D), then scores (E, stride). */
#define OWN(which, r) ((void *)at(t->which, (rows[r] * heads + k) * t->room * width, half))

/* Up to BLOCK rows of one group: all of them read their trunk while it is near, and their own slots are asked for meanwhile. */
#define BLOCK 8
INLINE void block(
    const Step *t, const long *rows, long count, long group, float *scratch, const long width, const int half) {
    const long each = t->each, heads = t->heads, slots = t->slot + 1, all = t->shared + slots;
    const long stride = (all + 2 * LANES - 1) / LANES * LANES, part = each * (width + stride);
    for (long k = 0; k < heads; k++) {
        const void *trunk_k = at(t->trunk_k, (group * heads + k) * t->trunk_room * width, half);
        const void *trunk_v = at(t->trunk_v, (group * heads + k) * t->trunk_room * width, half);
        for (long r = 0; r < count; r++) {
            const void *x = at(t->qkv, rows[r] * (each + 2) * heads * width, half);
            const float *by = t->turns + rows[r] * width;
            void *keys = OWN(own_k, r), *values = OWN(own_v, r);
            float *q = scratch + r * part;
            for (long e = 0; e < each; e++) turn(at(x, (k * each + e) * width, half), by, q + e * width, width, half, 0);
            turn(at(x, (heads * each + k) * width, half), by, (void *)at(keys, t->slot * width, half), width, half, half);
            memcpy((void *)at(values, t->slot * width, half), at(x, (heads * each + heads + k) * width, half),
                   width * (half ? 2 : 4));
            meet(q, trunk_k, q + each * width, each, t->shared, width, stride, keys, half);
        }
        for (long r = 0; r < count; r++) {
            float *q = scratch + r * part, *scores = q + each * width;
            meet(q, OWN(own_k, r), scores + t->shared, each, slots, width, stride, OWN(own_v, r), half);
            for (long e = 0; e < each; e++) {
                float *mine = scores + e * stride;
                float sum = soften(mine, t->bias ? t->bias + rows[r] * t->bias_stride : 0, all);
                for (long s = 0; s < all; s++) mine[s] /= sum;
            }
        }
        for (long r = 0; r < count; r++) {
            float *out = scratch + r * part, *scores = out + each * width; /* the queries are not needed any more */
            memset(out, 0, each * width * sizeof(float));
            gather(scores, trunk_v, out, each, t->shared, width, stride, half);
            gather(scores + t->shared, OWN(own_v, r), out, each, slots, width, stride, half);
            for (long i = 0; i < each * width; i += LANES)
                store(t->out, (rows[r] * heads + k) * each * width + i, *(lanes *)(out + i), half);
        }
    }
}

/* One decoding step of attention: turn queries and keys, put keys and values in their slot, attend. Block b holds the rows
 * order[starts[b]] to order[starts[b + 1] - 1], at most BLOCK of one group. */
void attend(
    const void *qkv, const float *turns, void *own_k, void *own_v, const void *trunk_k, const void *trunk_v,
    const float *bias, void *out, const long *order, const long *starts, const long *groups, long blocks, long heads, long each,
    long width, long room, long slot, long trunk_room, long shared, long bias_stride, long half, long threads) {
    const Step step = {
        qkv, trunk_k, trunk_v, turns, bias, own_k, own_v, out, heads, each, room, slot, trunk_room, shared, bias_stride};
#pragma omp parallel num_threads(threads)
    {
        float *scratch = aligned_alloc(64, (BLOCK * each * (width + shared + slot + 3 * LANES) * sizeof(float) + 63) / 64 * 64);
#pragma omp for schedule(dynamic)
        for (long b = 0; b < blocks; b++) {
            const long *rows = order + starts[b], count = starts[b + 1] - starts[b];
            if (half && width == 64) block(&step, rows, count, groups[b], scratch, 64, 1);
            else if (half) block(&step, rows, count, groups[b], scratch, width, 1);
            else if (width == 32) block(&step, rows, count, groups[b], scratch, 32, 0);
            else if (width == 64) block(&step, rows, count, groups[b], scratch, 64, 0);
            else block(&step, rows, count, groups[b], scratch, width, 0);
        }
        free(scratch);
    }
}

/* The next token of each row: the first whose cumulative probability exceeds u, and its log-probability. */
void draw(
    const float *logits, const float *temperature, const double *u, long *tokens, float *logprobs, long rows, long width,
    long threads) {
#pragma omp parallel num_threads(threads) if (rows * width > 65536)
    {
        float *scores = aligned_alloc(64, (width + 2 * LANES) * sizeof(float) / 64 * 64 + 64);
#pragma omp for schedule(static)
        for (long r = 0; r < rows; r++) {
            const float *from = logits + r * width;
            float cool = temperature ? 1.0f / temperature[r] : 1.0f, most = -INFINITY;
            for (long i = 0; i < width; i++) scores[i] = from[i] * cool;
            for (long i = 0; i < width; i++) most = scores[i] > most ? scores[i] : most;
            double sum = 0, below = 0;
            soften(scores, 0, width);
            for (long i = 0; i < width; i++) sum += scores[i];
            const double line = u[r] * sum;
            long token = 0;
            while (token < width - 1 && (below += scores[token]) <= line) token++;
            tokens[r] = token;
            logprobs[r] = from[token] * cool - most - (float)log(sum);
        }
        free(scores);
    }
}

/* out = x * scale with scale = 1 / sqrt(mean(x^2) + eps), row by row; the scales are kept for the way back. */
INLINE void norm_row(const void *x, void *out, float *scales, long r, long width, float eps, const int half) {
    lanes sum = {0};
    float more = 0;
    const long vectors = width / LANES * LANES;
    for (long i = 0; i < vectors; i += LANES) {
        lanes part = load(x, r * width + i, half);
        sum += part * part;
    }
    for (long i = vectors; i < width; i++) more += ((const float *)x)[r * width + i] * ((const float *)x)[r * width + i];
    float scale = scales[r] = 1.0f / sqrtf((total(sum) + more) / width + eps);
    for (long i = 0; i < vectors; i += LANES) store(out, r * width + i, load(x, r * width + i, half) * scale, half);
    for (long i = vectors; i < width; i++) ((float *)out)[r * width + i] = ((const float *)x)[r * width + i] * scale;
}

void norm(const void *x, void *out, float *scales, long rows, long width, float eps, long half, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        if (half) norm_row(x, out, scales, r, width, eps, 1); /* the width is a multiple of LANES */
        else norm_row(x, out, scales, r, width, eps, 0);
    }
}

/* The gradient of norm: scale * (grad - y * mean(grad * y)). */
void norm_back(const float *grad, const float *y, const float *scales, float *out, long rows, long width, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        const float *g = grad + r * width, *z = y + r * width;
        float sum = 0;
        for (long i = 0; i < width; i++) sum += g[i] * z[i];
        sum /= width;
        for (long i = 0; i < width; i++) out[r * width + i] = scales[r] * (g[i] - z[i] * sum);
    }
}

/* 1 / (1 + e^-x) and 1 / (1 + e^x), without ever taking e to a large power. */
static inline void logistic(lanes x, lanes *on, lanes *off) {
    whole positive = x > 0;
    lanes one = (lanes){0} + 1.0f, small = exponential((lanes)((whole)x | (1 << 31))); /* e^-|x| */
    *on = (lanes)(((whole)one & positive) | ((whole)small & ~positive)) / (1.0f + small);
    *off = (lanes)(((whole)small & positive) | ((whole)one & ~positive)) / (1.0f + small);
}

/* out = gate * logistic(gate) * up, gate and up side by side; the width is a multiple of LANES. */
INLINE void swiglu_row(const void *both, void *out, long r, long width, const int half) {
    for (long i = 0; i < width; i += LANES) {
        lanes g = load(both, r * 2 * width + i, half), on, off;
        logistic(g, &on, &off);
        store(out, r * width + i, g * on * load(both, r * 2 * width + width + i, half), half);
    }
}

void swiglu(const void *both, void *out, long rows, long width, long half, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        if (half) swiglu_row(both, out, r, width, 1);
        else swiglu_row(both, out, r, width, 0);
    }
}

/* The gradient of swiglu for gate and up, side by side. */
void swiglu_back(const float *grad, const float *both, float *out, long rows, long width, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        const float *gate = both + r * 2 * width, *up = gate + width;
        float *to = out + r * 2 * width;
        for (long i = 0; i < width; i += LANES) {
            lanes g = *(const lanes *)(gate + i), d = *(const lanes *)(grad + r * width + i), on, off;
            logistic(g, &on, &off);
            *(lanes *)(to + i) = d * *(const lanes *)(up + i) * on * (1.0f + g * off);
            *(lanes *)(to + width + i) = d * g * on;
        }
    }
}
