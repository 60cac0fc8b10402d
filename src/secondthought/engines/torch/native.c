/* Steps of a transformer layer, each in one pass over memory; see kernels.py and fast.py for what they are in PyTorch.
 *
 * A "row" is one sequence that gets its next token. Letters as in fast.py: A rows, K key heads, E query heads for each,
 * D width of a head, P slots of the trunk, T slots of a row in use. All numbers are float32, C order.
 */
#include <math.h>
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

/* Ask for memory that is needed soon. */
INLINE void fetch(const float *from, long count) {
    for (long i = 0; i < count; i += 16) __builtin_prefetch(from + i, 0, 3);
}

/* scores[e][s] = q[e] . key[s] for the slots of one head, eight at a time; as many slots from ``next`` are asked for. */
INLINE void meet(
    const float *q, const float *keys, float *scores, long each, long slots, long width, long stride, const float *next) {
    long s = 0;
    for (; s + LANES <= slots; s += LANES) {
        if (next) fetch(next + s * width, LANES * width);
        for (long e = 0; e < each; e++) {
            lanes sum[LANES] = {{0}};
            for (long d = 0; d < width; d += LANES) {
                lanes part = *(const lanes *)(q + e * width + d);
                for (long i = 0; i < LANES; i++) sum[i] += part * *(const lanes *)(keys + (s + i) * width + d);
            }
            *(lanes *)(scores + e * stride + s) = totals(sum);
        }
    }
    for (; s < slots; s++)
        for (long e = 0; e < each; e++) {
            lanes sum = {0};
            for (long d = 0; d < width; d += LANES)
                sum += *(const lanes *)(q + e * width + d) * *(const lanes *)(keys + s * width + d);
            scores[e * stride + s] = total(sum);
        }
}

/* out[e] += sum over s of probs[e][s] * value[s]; two slots at a time, so that sums do not wait for each other. */
INLINE void gather(
    const float *probs, const float *values, float *out, long each, long slots, long width, long stride,
    const float *next) {
    for (long e = 0; e < each; e++) {
        const float *by = probs + e * stride;
        for (long d = 0; d < width; d += 4 * LANES) {
            const long parts = width - d < 4 * LANES ? (width - d) / LANES : 4;
            lanes even[4] = {{0}}, odd[4] = {{0}};
            long s = 0;
            for (; s + 2 <= slots; s += 2) {
                if (next && !e && !d) fetch(next + s * width, 2 * width);
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

static inline void turn(const float *x, const float *by, float *out, long width) {
    for (long d = 0; d < width; d += 2) {
        out[d] = x[d] * by[d] - x[d + 1] * by[d + 1];
        out[d + 1] = x[d] * by[d + 1] + x[d + 1] * by[d];
    }
}

/* All arguments of attend, in one place. */
typedef struct {
    const float *qkv, *turns, *trunk_k, *trunk_v, *bias;
    float *own_k, *own_v, *out;
    long heads, each, room, slot, trunk_room, shared, bias_stride;
} Step;

/* Where the slots of a row begin, and its scratch: queries (E, D), then scores (E, stride). */
#define OWN(store, r) (t->store + (rows[r] * heads + k) * t->room * width)
#define OUT(r) (t->out + (rows[r] * heads + k) * each * width)

/* Up to BLOCK rows of one group: all of them read their trunk while it is near, and their own slots are asked for meanwhile. */
#define BLOCK 8
INLINE void block(
    const Step *t, const long *rows, long count, long group, float *scratch, const long width) {
    const long each = t->each, heads = t->heads, slots = t->slot + 1, all = t->shared + slots;
    const long stride = (all + 2 * LANES - 1) / LANES * LANES, part = each * (width + stride);
    for (long k = 0; k < heads; k++) {
        const float *trunk_k = t->trunk_k + (group * heads + k) * t->trunk_room * width;
        const float *trunk_v = t->trunk_v + (group * heads + k) * t->trunk_room * width;
        for (long r = 0; r < count; r++) {
            const float *x = t->qkv + rows[r] * (each + 2) * heads * width, *by = t->turns + rows[r] * width;
            float *keys = OWN(own_k, r), *values = OWN(own_v, r), *q = scratch + r * part;
            for (long e = 0; e < each; e++) turn(x + (k * each + e) * width, by, q + e * width, width);
            turn(x + (heads * each + k) * width, by, keys + t->slot * width, width);
            memcpy(values + t->slot * width, x + (heads * each + heads + k) * width, width * sizeof(float));
            meet(q, trunk_k, q + each * width, each, t->shared, width, stride, keys);
        }
        for (long r = 0; r < count; r++) {
            float *q = scratch + r * part, *scores = q + each * width;
            meet(q, OWN(own_k, r), scores + t->shared, each, slots, width, stride, OWN(own_v, r));
            for (long e = 0; e < each; e++) {
                float *mine = scores + e * stride;
                float sum = soften(mine, t->bias ? t->bias + rows[r] * t->bias_stride : 0, all);
                for (long s = 0; s < all; s++) mine[s] /= sum;
            }
        }
        for (long r = 0; r < count; r++) {
            float *scores = scratch + r * part + each * width;
            memset(OUT(r), 0, each * width * sizeof(float));
            gather(scores, trunk_v, OUT(r), each, t->shared, width, stride, 0);
            gather(scores + t->shared, OWN(own_v, r), OUT(r), each, slots, width, stride, 0);
        }
    }
}

/* One decoding step of attention: turn queries and keys, put keys and values in their slot, attend. Block b holds the rows
 * order[starts[b]] to order[starts[b + 1] - 1], at most BLOCK of one group. */
void attend(
    const float *qkv, const float *turns, float *own_k, float *own_v, const float *trunk_k, const float *trunk_v,
    const float *bias, float *out, const long *order, const long *starts, const long *groups, long blocks, long heads, long each,
    long width, long room, long slot, long trunk_room, long shared, long bias_stride, long threads) {
    const Step step = {
        qkv, turns, trunk_k, trunk_v, bias, own_k, own_v, out, heads, each, room, slot, trunk_room, shared, bias_stride};
#pragma omp parallel num_threads(threads)
    {
        float *scratch = aligned_alloc(64, (BLOCK * each * (width + shared + slot + 3 * LANES) * sizeof(float) + 63) / 64 * 64);
#pragma omp for schedule(dynamic)
        for (long b = 0; b < blocks; b++) {
            const long *rows = order + starts[b], count = starts[b + 1] - starts[b];
            if (width == 32) block(&step, rows, count, groups[b], scratch, 32);
            else if (width == 64) block(&step, rows, count, groups[b], scratch, 64);
            else if (width == 128) block(&step, rows, count, groups[b], scratch, 128);
            else block(&step, rows, count, groups[b], scratch, width);
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
void norm(const float *x, float *out, float *scales, long rows, long width, float eps, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        const float *from = x + r * width;
        float sum = 0;
        for (long i = 0; i < width; i++) sum += from[i] * from[i];
        float scale = scales[r] = 1.0f / sqrtf(sum / width + eps);
        for (long i = 0; i < width; i++) out[r * width + i] = from[i] * scale;
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
void swiglu(const float *both, float *out, long rows, long width, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        const float *gate = both + r * 2 * width, *up = gate + width;
        for (long i = 0; i < width; i += LANES) {
            lanes g = *(const lanes *)(gate + i), on, off;
            logistic(g, &on, &off);
            *(lanes *)(out + r * width + i) = g * on * *(const lanes *)(up + i);
        }
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
