/* Three element-wise steps of decoding, each in one pass over memory; see native.py for what they are in PyTorch.
 *
 * A "row" is one sequence that gets its next token. Letters as in fast.py: A rows, K key heads, E query heads for each,
 * D width of a head, P slots of the trunk, T slots of a row in use. All numbers are float32, C order.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef float lanes __attribute__((vector_size(32), aligned(4)));
#define LANES 8

#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

static inline float total(lanes x) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
}

/* The totals of eight vectors, as one vector. */
static inline lanes totals(const lanes *x) {
    lanes two[4], four[2];
    for (int i = 0; i < 4; i++)
        two[i] = MIX(x[2 * i], x[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14) + MIX(x[2 * i], x[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    for (int i = 0; i < 2; i++)
        four[i] = MIX(two[2 * i], two[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) + MIX(two[2 * i], two[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return MIX(four[0], four[1], 0, 1, 2, 3, 8, 9, 10, 11) + MIX(four[0], four[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

/* scores[e][s] = q[e] . key[s] for the slots of one head; eight slots at a time. */
static inline __attribute__((always_inline)) void meet(
    const float *q, const float *keys, float *scores, long each, long slots, long width, long stride) {
    long s = 0;
    for (; s + LANES <= slots; s += LANES)
        for (long e = 0; e < each; e++) {
            lanes sum[LANES] = {{0}};
            for (long d = 0; d < width; d += LANES) {
                lanes part = *(const lanes *)(q + e * width + d);
                for (long i = 0; i < LANES; i++) sum[i] += part * *(const lanes *)(keys + (s + i) * width + d);
            }
            *(lanes *)(scores + e * stride + s) = totals(sum);
        }
    for (; s < slots; s++)
        for (long e = 0; e < each; e++) {
            lanes sum = {0};
            for (long d = 0; d < width; d += LANES) sum += *(const lanes *)(q + e * width + d) * *(const lanes *)(keys + s * width + d);
            scores[e * stride + s] = total(sum);
        }
}

/* Ask for the memory of the next head while this one is worked on. */
static inline void fetch(const float *from, long count) {
    for (long i = 0; i < count; i += 16) __builtin_prefetch(from + i, 0, 2);
}

/* out[e] += sum over s of probs[e][s] * value[s]. */
static inline __attribute__((always_inline)) void gather(
    const float *probs, const float *values, float *out, long each, long slots, long width, long stride) {
    for (long e = 0; e < each; e++)
        for (long d = 0; d < width; d += 4 * LANES) {
            lanes sum[4];
            long parts = (width - d) / LANES < 4 ? (width - d) / LANES : 4;
            for (long i = 0; i < parts; i++) sum[i] = *(lanes *)(out + e * width + d + i * LANES);
            for (long s = 0; s < slots; s++) {
                float prob = probs[e * stride + s];
                for (long i = 0; i < parts; i++) sum[i] += prob * *(const lanes *)(values + s * width + d + i * LANES);
            }
            for (long i = 0; i < parts; i++) *(lanes *)(out + e * width + d + i * LANES) = sum[i];
        }
}

static inline __attribute__((always_inline)) void softmax(float *scores, const float *bias, long count) {
    float most = -INFINITY, sum = 0;
    if (bias) for (long s = 0; s < count; s++) scores[s] += bias[s];
    for (long s = 0; s < count; s++) most = scores[s] > most ? scores[s] : most;
    for (long s = 0; s < count; s++) scores[s] = expf(scores[s] - most);
    for (long s = 0; s < count; s++) sum += scores[s];
    for (long s = 0; s < count; s++) scores[s] /= sum;
}

static inline void turn(const float *x, const float *by, float *out, long width) {
    for (long d = 0; d < width; d += 2) {
        out[d] = x[d] * by[d] - x[d + 1] * by[d + 1];
        out[d + 1] = x[d] * by[d + 1] + x[d + 1] * by[d];
    }
}

static inline __attribute__((always_inline)) void row(
    const float *qkv, const float *turns, float *own_k, float *own_v, const float *trunk_k, const float *trunk_v,
    const float *bias, float *out, float *scratch, long heads, long each, long width, long room, long slot, long trunk_room,
    long shared) {
    long count = shared + slot + 1;
    float *q = scratch, *scores = scratch + each * width;
    for (long k = 0; k < heads; k++) {
        float *keys = own_k + k * room * width, *values = own_v + k * room * width;
        fetch(keys + room * width, slot * width);
        fetch(values + room * width, slot * width);
        for (long e = 0; e < each; e++) turn(qkv + (k * each + e) * width, turns, q + e * width, width);
        turn(qkv + (heads * each + k) * width, turns, keys + slot * width, width);
        memcpy(values + slot * width, qkv + (heads * each + heads + k) * width, width * sizeof(float));
        meet(q, trunk_k + k * trunk_room * width, scores, each, shared, width, count);
        meet(q, keys, scores + shared, each, slot + 1, width, count);
        for (long e = 0; e < each; e++) softmax(scores + e * count, bias, count);
        float *mine = out + k * each * width;
        memset(mine, 0, each * width * sizeof(float));
        gather(scores, trunk_v + k * trunk_room * width, mine, each, shared, width, count);
        gather(scores + shared, values, mine, each, slot + 1, width, count);
    }
}

/* One decoding step of attention for all rows: turn queries and keys, put keys and values in their slot, attend. */
void attend(
    const float *qkv, const float *turns, float *own_k, float *own_v, const float *trunk_k, const float *trunk_v,
    const long *group, const float *bias, float *out, long rows, long heads, long each, long width, long room, long slot,
    long trunk_room, long shared, long bias_stride, long threads) {
#pragma omp parallel num_threads(threads)
    {
        float *scratch = malloc((each * width + each * (shared + slot + 1)) * sizeof(float));
#pragma omp for schedule(static)
        for (long a = 0; a < rows; a++) {
            const float *x = qkv + a * (heads * each + 2 * heads) * width, *by = turns + a * width;
            float *k = own_k + a * heads * room * width, *v = own_v + a * heads * room * width;
            const float *tk = trunk_k + (shared ? group[a] * heads * trunk_room * width : 0);
            const float *tv = trunk_v + (shared ? group[a] * heads * trunk_room * width : 0);
            const float *b = bias ? bias + a * bias_stride : 0;
            float *y = out + a * heads * each * width;
#define WITH(w) row(x, by, k, v, tk, tv, b, y, scratch, heads, each, w, room, slot, trunk_room, shared)
            if (width == 32) WITH(32);
            else if (width == 64) WITH(64);
            else if (width == 128) WITH(128);
            else WITH(width);
        }
        free(scratch);
    }
}

/* out = x / sqrt(mean(x^2) + eps), row by row. */
void norm(const float *x, float *out, long rows, long width, float eps, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        const float *from = x + r * width;
        float sum = 0;
        for (long i = 0; i < width; i++) sum += from[i] * from[i];
        float scale = 1.0f / sqrtf(sum / width + eps);
        for (long i = 0; i < width; i++) out[r * width + i] = from[i] * scale;
    }
}

/* out = gate / (1 + exp(-gate)) * up, gate and up side by side. */
void swiglu(const float *both, float *out, long rows, long width, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        const float *gate = both + r * 2 * width, *up = gate + width;
        for (long i = 0; i < width; i++) out[r * width + i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}
