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

#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#define VECTOR(type, size) type __attribute__((vector_size(LANES * size), aligned(size)))
typedef VECTOR(float, 4) lanes;
typedef VECTOR(int32_t, 4) whole;

long lanes_here(void) { return LANES; }

#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define INLINE static inline __attribute__((always_inline))

static inline float total(lanes x) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
}

/* The totals of as many vectors as a vector has numbers, as one vector. */
#if LANES == 16
static inline lanes totals(const lanes *x) {
    lanes two[8], four[4], eight[2];
    for (int i = 0; i < 8; i++)
        two[i] = MIX(x[2 * i], x[2 * i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
               + MIX(x[2 * i], x[2 * i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    for (int i = 0; i < 4; i++)
        four[i] = MIX(two[2 * i], two[2 * i + 1], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
                + MIX(two[2 * i], two[2 * i + 1], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    for (int i = 0; i < 2; i++)
        eight[i] = MIX(four[2 * i], four[2 * i + 1], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
                 + MIX(four[2 * i], four[2 * i + 1], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    return MIX(eight[0], eight[1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
         + MIX(eight[0], eight[1], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}
#else
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
#endif

/* Numbers in memory: float32, or bfloat16 (half), the upper half of one, rounded to even. */
typedef VECTOR(uint16_t, 2) halves;
typedef VECTOR(uint32_t, 4) words;

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

/* scores[e][s] = q[e] . key[s] for the slots of one head, a vector of them at a time, for ``count`` rows whose queries and
 * scores lie ``part`` apart; as many slots from ``next`` are asked for. */
INLINE void meet(
    const float *q, const void *keys, float *scores, long count, long part, long each, long slots, long width, long stride,
    const void *next, const int half) {
    float near[LANES * WIDEST] __attribute__((aligned(64)));
    const long bytes = LANES * width * (half ? 2 : 4);
    for (long s = 0; s < slots; s += LANES) {
        const long some = slots - s < LANES ? slots - s : LANES;
        const float *key = widened(at(keys, s * width, half), near, some * width, half);
        if (next && some == LANES) fetch((const char *)next + s / LANES * bytes, bytes);
        for (long re = 0; re < count * each; re++) {
            const float *asks = q + re / each * part + re % each * width;
            float *found = scores + re / each * part + re % each * stride + s;
            if (some == LANES) {
                lanes sum[LANES] = {{0}};
                for (long d = 0; d < width; d += LANES) {
                    lanes piece = *(const lanes *)(asks + d);
                    for (long i = 0; i < LANES; i++) sum[i] += piece * *(const lanes *)(key + i * width + d);
                }
                *(lanes *)found = totals(sum);
                continue;
            }
            for (long i = 0; i < some; i++) {
                lanes sum = {0};
                for (long d = 0; d < width; d += LANES) sum += *(const lanes *)(asks + d) * *(const lanes *)(key + i * width + d);
                found[i] = total(sum);
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

/* The same for some rows, from memory of either kind, 32 slots at a time: bfloat16 is widened once for all queries. */
#define TILE 32
INLINE void gather(
    const float *probs, const void *values, float *out, long count, long part, long each, long slots, long width, long stride,
    const int half) {
    float near[TILE * WIDEST] __attribute__((aligned(64)));
    for (long s = 0; s < slots; s += TILE) {
        const long some = slots - s < TILE ? slots - s : TILE;
        const float *value = widened(at(values, s * width, half), near, some * width, half);
        for (long r = 0; r < count; r++) gather_some(probs + r * part + s, value, out + r * part, each, some, width, stride);
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

/* Neighbouring numbers as complex ones, turned: (a, b) (c, d) = (ac - bd, ad + bc). */
INLINE void turn(const void *x, const float *by, void *out, long width, const int from_half, const int to_half) {
    for (long d = 0; d < width; d += LANES) {
        lanes a = load(x, d, from_half), y;
        const float *c = by + d;
        for (long i = 0; i < LANES; i += 2) {
            y[i] = a[i] * c[i] - a[i + 1] * c[i + 1];
            y[i + 1] = a[i] * c[i + 1] + a[i + 1] * c[i];
        }
        store(out, d, y, to_half);
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
    const Step *t, const long *rows, long count, long group, float *scratch, const long width, const int half,
    const int given) {
    const long each = t->each, heads = t->heads, slots = t->slot + 1, all = t->shared + slots;
    const long stride = (all + 2 * LANES - 1) / LANES * LANES, part = each * (width + stride);
    for (long k = 0; k < heads; k++) {
        const void *trunk_k = at(t->trunk_k, (group * heads + k) * t->trunk_room * width, half);
        const void *trunk_v = at(t->trunk_v, (group * heads + k) * t->trunk_room * width, half);
        for (long r = 0; r < count; r++) {
            const void *x = at(t->qkv, rows[r] * (each + 2) * heads * width, given);
            const float *by = t->turns + rows[r] * width;
            void *keys = OWN(own_k, r), *values = OWN(own_v, r);
            fetch(keys, slots * width * (half ? 2 : 4));
            float *q = scratch + r * part;
            for (long e = 0; e < each; e++) turn(at(x, (k * each + e) * width, given), by, q + e * width, width, given, 0);
            turn(at(x, (heads * each + k) * width, given), by, (void *)at(keys, t->slot * width, half), width, given, half);
            for (long d = 0; d < width; d += LANES)
                store(values, t->slot * width + d, load(x, (heads * each + heads + k) * width + d, given), half);
        }
        meet(scratch, trunk_k, scratch + each * width, count, part, each, t->shared, width, stride, 0, half);
        for (long r = 0; r < count; r++) {
            float *q = scratch + r * part, *scores = q + each * width;
            meet(q, OWN(own_k, r), scores + t->shared, 1, part, each, slots, width, stride, OWN(own_v, r), half);
            for (long e = 0; e < each; e++) {
                float *mine = scores + e * stride;
                float sum = soften(mine, t->bias ? t->bias + rows[r] * t->bias_stride : 0, all);
                for (long s = 0; s < all; s++) mine[s] /= sum;
            }
        }
        for (long r = 0; r < count; r++) memset(scratch + r * part, 0, each * width * sizeof(float)); /* queries are done */
        gather(scratch + each * width, trunk_v, scratch, count, part, each, t->shared, width, stride, half);
        for (long r = 0; r < count; r++) {
            float *out = scratch + r * part, *scores = out + each * width;
            gather(scores + t->shared, OWN(own_v, r), out, 1, part, each, slots, width, stride, half);
            for (long i = 0; i < each * width; i += LANES)
                store(t->out, (rows[r] * heads + k) * each * width + i, *(lanes *)(out + i), given);
        }
    }
}

/* One decoding step of attention: turn queries and keys, put keys and values in their slot, attend. What is kept is bfloat16 if
 * half, what is given and what comes out if given. Block b holds the rows
 * order[starts[b]] to order[starts[b + 1] - 1], at most BLOCK of one group. */
void attend(
    const void *qkv, const float *turns, void *own_k, void *own_v, const void *trunk_k, const void *trunk_v,
    const float *bias, void *out, const long *order, const long *starts, const long *groups, long blocks, long heads, long each,
    long width, long room, long slot, long trunk_room, long shared, long bias_stride, long half, long given, long threads) {
    const Step step = {
        qkv, trunk_k, trunk_v, turns, bias, own_k, own_v, out, heads, each, room, slot, trunk_room, shared, bias_stride};
#pragma omp parallel num_threads(threads)
    {
        float *scratch = aligned_alloc(64, (BLOCK * each * (width + shared + slot + 3 * LANES) * sizeof(float) + 63) / 64 * 64);
#pragma omp for schedule(dynamic)
        for (long b = 0; b < blocks; b++) {
            const long *rows = order + starts[b], count = starts[b + 1] - starts[b];
            if (half && given && width == 64) block(&step, rows, count, groups[b], scratch, 64, 1, 1);
            else if (half && given) block(&step, rows, count, groups[b], scratch, width, 1, 1);
            else if (half) block(&step, rows, count, groups[b], scratch, width, 1, 0);
            else if (width == 32) block(&step, rows, count, groups[b], scratch, 32, 0, 0);
            else if (width == 64) block(&step, rows, count, groups[b], scratch, 64, 0, 0);
            else block(&step, rows, count, groups[b], scratch, width, 0, 0);
        }
        free(scratch);
    }
}

typedef struct {
    float score;
    long place;
} Ranked;

static int by_rank(const void *a, const void *b) {
    const Ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->place < y->place ? -1 : 1;
}

/* The last token, in order of rank, that can be drawn; its score decides who else can. ``chances`` are e^(score - largest). */
#define BUCKETS 1024
static Ranked last_kept(
    const float *scores, const float *chances, float most, long width, long k, double p, double min_p, Ranked *ranked) {
    long counts[BUCKETS] = {0};
    double masses[BUCKETS] = {0}, total = 0, below = 0;
#define BUCKET(i) ((long)((most - scores[i]) * 16.0f < BUCKETS - 1 ? (most - scores[i]) * 16.0f : BUCKETS - 1))
    for (long i = 0; i < width; i++) {
        counts[BUCKET(i)]++;
        masses[BUCKET(i)] += chances[i];
    }
    if (k <= 0 || k > width) k = width;
    for (long b = 0; b < BUCKETS; b++) total += masses[b];
    long last = 0, count = 0; /* the last bucket of which anybody can be kept */
    for (double mass = 0; last < BUCKETS - 1; last++) {
        count += counts[last];
        mass += masses[last];
        if (count >= k || (k == width && mass > p * total)) break;
    }
    count = 0;
    for (long i = 0; i < width; i++)
        if (BUCKET(i) <= last) ranked[count++] = (Ranked){scores[i], i};
    qsort(ranked, count, sizeof(Ranked), by_rank);
    if (count > k) count = k;
    if (k < width) {
        total = 0;
        for (long j = 0; j < count; j++) total += chances[ranked[j].place];
    }
    long kept = 0;
    while (kept < count && (!kept || (below < p * total && chances[ranked[kept].place] >= min_p)))
        below += chances[ranked[kept++].place];
    return ranked[kept - 1];
}

/* The next token of each row, the first whose cumulative probability exceeds u, and its log-probability in what it was drawn
 * from. What is null is left out for all rows. Order as in transformers: repetition penalty, temperature, top-k, top-p, min-p; a
 * temperature of 0 takes the most likely token. */
void choose(
    const float *logits, const float *temperature, const float *top_p, const long *top_k, const float *min_p,
    const float *penalty, const unsigned char *seen, const double *u, long *tokens, float *logprobs, long rows, long width,
    long threads) {
#pragma omp parallel num_threads(threads) if (rows * width > 65536)
    {
        const size_t bytes = ((width + 2 * LANES) * sizeof(float) + 63) / 64 * 64;
        float *scores = aligned_alloc(64, bytes), *chances = aligned_alloc(64, bytes);
        Ranked *ranked = top_p ? malloc(width * sizeof(Ranked)) : 0;
#pragma omp for schedule(static)
        for (long r = 0; r < rows; r++) {
            const float *from = logits + r * width, heat = temperature ? temperature[r] : 1.0f;
            const float warm = heat > 0 ? heat : 1.0f;
            float most = -INFINITY;
            for (long i = 0; i < width; i++) scores[i] = from[i];
            if (penalty)
                for (long i = 0; i < width; i++)
                    if (seen[r * width + i]) scores[i] = from[i] < 0 ? from[i] * penalty[r] : from[i] / penalty[r];
            if (warm != 1.0f) for (long i = 0; i < width; i++) scores[i] /= warm;
            for (long i = 0; i < width; i++) most = scores[i] > most ? scores[i] : most;
            memcpy(chances, scores, width * sizeof(float));
            soften(chances, 0, width);
            Ranked last = {-INFINITY, width};
            const int truncated = top_p && (top_p[r] < 1 || top_k[r] > 0 || min_p[r] > 0);
            if (truncated && heat > 0) last = last_kept(scores, chances, most, width, top_k[r], top_p[r], min_p[r], ranked);
            double sum = 0, below = 0;
            if (last.place < width)
                for (long i = 0; i < width; i++)
                    if (scores[i] < last.score || (scores[i] == last.score && i > last.place)) chances[i] = 0;
            for (long i = 0; i < width; i++) sum += chances[i];
            const double line = u[r] * sum;
            long token = 0, end = width - 1;
            while (end > 0 && chances[end] == 0) end--;
            if (heat > 0) while (token < end && (below += chances[token]) <= line) token++;
            else while (scores[token] < most) token++;
            tokens[r] = token;
            logprobs[r] = scores[token] - most - (float)log(sum);
        }
        free(scores);
        free(chances);
        free(ranked);
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

/* logsumexp of logits / temperature, row by row; the width is a multiple of LANES. */
INLINE float logsumexp_row(const void *logits, long r, long width, float cool, const int half) {
    lanes most = (lanes){0} - INFINITY, sum = {0};
    for (long i = 0; i < width; i += LANES) {
        lanes x = load(logits, r * width + i, half);
        whole more = x > most;
        most = (lanes)(((whole)x & more) | ((whole)most & ~more));
    }
    float top = most[0];
    for (long i = 1; i < LANES; i++) top = most[i] > top ? most[i] : top;
    for (long i = 0; i < width; i += LANES) sum += exponential((load(logits, r * width + i, half) - top) * cool);
    return top * cool + logf(total(sum));
}

void logsumexp(const void *logits, float *out, long rows, long width, float cool, long half, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++)
        out[r] = half ? logsumexp_row(logits, r, width, cool, 1) : logsumexp_row(logits, r, width, cool, 0);
}

/* The gradient of log p(token) = logit / temperature - logsumexp: grad / temperature * (1 at the token - p), everywhere. */
INLINE void logprob_back_row(
    const void *logits, float sum, float grad, void *out, long r, long width, float cool, const int half) {
    for (long i = 0; i < width; i += LANES)
        store(out, r * width + i, exponential(load(logits, r * width + i, half) * cool - sum) * (-grad * cool), half);
}

void logprob_back(
    const void *logits, const float *sums, const float *grads, const long *tokens, void *out, long rows, long width, float cool,
    long half, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        const long token = tokens[r], from = token / LANES * LANES;
        if (half) logprob_back_row(logits, sums[r], grads[r], out, r, width, cool, 1);
        else logprob_back_row(logits, sums[r], grads[r], out, r, width, cool, 0);
        lanes x = load(logits, r * width + from, half), y = exponential(x * cool - sums[r]) * (-grads[r] * cool);
        y[token - from] += grads[r] * cool;
        store(out, r * width + from, y, half);
    }
}

/* Any number of them, as float32 and back. */
INLINE void read_row(const void *from, long at_, float *to, long count, const int half) {
    long i = 0;
    for (; i + LANES <= count; i += LANES) *(lanes *)(to + i) = load(from, at_ + i, half);
    for (; i < count; i++) {
        uint32_t bits = half ? (uint32_t)((const uint16_t *)from)[at_ + i] << 16 : ((const uint32_t *)from)[at_ + i];
        memcpy(to + i, &bits, 4);
    }
}

INLINE void write_row(void *to, long at_, const float *from, long count, const int half) {
    long i = 0;
    for (; i + LANES <= count; i += LANES) store(to, at_ + i, *(const lanes *)(from + i), half);
    if (i == count) return;
    lanes rest = {0};
    memcpy(&rest, from + i, (count - i) * sizeof(float));
    uint32_t end[LANES];
    store(end, 0, rest, half);
    memcpy((char *)to + (at_ + i) * (half ? 2 : 4), end, (count - i) * (half ? 2 : 4));
}

/* One softmax over a row's scores in its trunk (P of them) and in its branch (S), in place. Row n is token n % S of a branch, and
 * has the bias of that token in sequence n / each_sequence: (P + S) numbers. */
INLINE void tree_softmax_row(
    void *trunk, void *own, const float *bias, float *scratch, long n, long each_sequence, long P, long S, const int half) {
    read_row(trunk, n * P, scratch, P, half);
    read_row(own, n * S, scratch + P, S, half);
    float sum = soften(scratch, bias + (n / each_sequence * S + n % S) * (P + S), P + S), scale = 1.0f / sum;
    for (long i = 0; i < P + S; i++) scratch[i] *= scale;
    write_row(trunk, n * P, scratch, P, half);
    write_row(own, n * S, scratch + P, S, half);
}

/* The way back: p * (grad - sum of grad * p), in the place of grad. */
INLINE void tree_softmax_back_row(
    void *by_trunk, void *by_own, const void *trunk, const void *own, float *scratch, long n, long P, long S, const int half) {
    float *grad = scratch, *p = scratch + P + S + 2 * LANES, sum = 0;
    read_row(by_trunk, n * P, grad, P, half);
    read_row(by_own, n * S, grad + P, S, half);
    read_row(trunk, n * P, p, P, half);
    read_row(own, n * S, p + P, S, half);
    for (long i = 0; i < P + S; i++) sum += grad[i] * p[i];
    for (long i = 0; i < P + S; i++) grad[i] = p[i] * (grad[i] - sum);
    write_row(by_trunk, n * P, grad, P, half);
    write_row(by_own, n * S, grad + P, S, half);
}

#define SCRATCH(P, S) aligned_alloc(64, (2 * ((P) + (S) + 4 * LANES) * sizeof(float) + 63) / 64 * 64)

void tree_softmax(
    void *trunk, void *own, const float *bias, long rows, long each_sequence, long P, long S, long half, long threads) {
#pragma omp parallel num_threads(threads) if (rows * (P + S) > 65536)
    {
        float *scratch = SCRATCH(P, S);
#pragma omp for schedule(static)
        for (long n = 0; n < rows; n++) {
            if (half) tree_softmax_row(trunk, own, bias, scratch, n, each_sequence, P, S, 1);
            else tree_softmax_row(trunk, own, bias, scratch, n, each_sequence, P, S, 0);
        }
        free(scratch);
    }
}

void tree_softmax_back(
    void *by_trunk, void *by_own, const void *trunk, const void *own, long rows, long P, long S, long half, long threads) {
#pragma omp parallel num_threads(threads) if (rows * (P + S) > 65536)
    {
        float *scratch = SCRATCH(P, S);
#pragma omp for schedule(static)
        for (long n = 0; n < rows; n++) {
            if (half) tree_softmax_back_row(by_trunk, by_own, trunk, own, scratch, n, P, S, 1);
            else tree_softmax_back_row(by_trunk, by_own, trunk, own, scratch, n, P, S, 0);
        }
        free(scratch);
    }
}
