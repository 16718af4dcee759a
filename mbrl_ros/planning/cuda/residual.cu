// A learned residual without memory on a parametric base, as models/learned/model.py has it in torch.

#define SEEN 7
#define CORRECTED 3
#define ROLLING_MPS 0.3f
#define LARGEST_INPUT 5.0f

#define BLOCK 16  // outputs whose sums stay in registers

template <int INPUTS, int OUTPUTS, int COUNT>
INLINE void outputs(const float* weights, int from, const float (*x)[LANES], float (*y)[LANES]) {
    constexpr int parts = COUNT < BLOCK / 2 ? 4 : 1;  // few sums would each wait for themselves
    float sum[parts][COUNT][LANES];
    UNROLLED for (int part = 0; part < parts; ++part) UNROLLED for (int k = 0; k < COUNT; ++k)
        EACH_LANE(lane) sum[part][k][lane] = part ? 0.0f : weights[INPUTS * OUTPUTS + from + k];
    for (int first = 0; first < INPUTS; first += parts)
        UNROLLED for (int part = 0; part < parts; ++part) {
            const int in = first + part;
            const float* row = weights + in * OUTPUTS + from;
            if (in < INPUTS)
                UNROLLED for (int k = 0; k < COUNT; ++k) EACH_LANE(lane) sum[part][k][lane] += row[k] * x[in][lane];
        }
    UNROLLED for (int k = 0; k < COUNT; ++k) EACH_LANE(lane) {
        float whole = sum[0][k][lane];
        for (int part = 1; part < parts; ++part) whole += sum[part][k][lane];
        y[from + k][lane] = whole;
    }
}

// Weights [INPUTS, OUTPUTS], then the bias; returns what lies behind them.
template <int INPUTS, int OUTPUTS>
INLINE const float* layer(const float* weights, const float (*x)[LANES], float (*y)[LANES]) {
    constexpr int whole = OUTPUTS / BLOCK * BLOCK, rest = OUTPUTS - whole;
    UNROLLED for (int from = 0; from < whole; from += BLOCK) outputs<INPUTS, OUTPUTS, BLOCK>(weights, from, x, y);
    if constexpr (rest > 0) outputs<INPUTS, OUTPUTS, rest>(weights, whole, x, y);
    return weights + (INPUTS + 1) * OUTPUTS;
}

// 1 + e^-x; of four of them the product is still finite, and x over it is nothing beside what is added to it.
INLINE float divisor(float x) { return 1 + inlined_expf(least(-x, 21.0f)); }

INLINE void silu(float (*x)[LANES]) {
    constexpr int whole = HIDDEN / 4 * 4;
    for (int k = 0; k < whole; k += 4)
        EACH_LANE(lane) {
            // A division takes as long as all the rest, and one is enough for four.
            const float a = x[k][lane], b = x[k + 1][lane], c = x[k + 2][lane], d = x[k + 3][lane];
            const float p = divisor(a), q = divisor(b), r = divisor(c), s = divisor(d), pq = p * q, rs = r * s;
            const float all = 1 / (pq * rs), of_pq = all * rs, of_rs = all * pq;
            x[k][lane] = a * of_pq * q;
            x[k + 1][lane] = b * of_pq * p;
            x[k + 2][lane] = c * of_rs * s;
            x[k + 3][lane] = d * of_rs * r;
        }
    for (int k = whole; k < HIDDEN; ++k) EACH_LANE(lane) x[k][lane] /= divisor(x[k][lane]);
}

// Mean over the members of the rates of change that are added, for normalised inputs; packed as problem.py says.
INLINE void changes(const Parameters& p, const float* network, const float (*seen)[LANES], float (*change)[LANES]) {
    for (int k = 0; k < CORRECTED; ++k) EACH_LANE(lane) change[k][lane] = 0.0f;
    for (int member = 0; member < MEMBERS; ++member) {
        float x[HIDDEN][LANES], y[HIDDEN][LANES], output[CORRECTED][LANES];
        network = layer<SEEN, HIDDEN>(network, seen, x);
        silu(x);
        for (int hidden = 1; hidden < HIDDEN_LAYERS; ++hidden) {
            network = layer<HIDDEN, HIDDEN>(network, x, y);
            silu(y);
            for (int k = 0; k < HIDDEN; ++k) EACH_LANE(lane) x[k][lane] = y[k][lane];
        }
        network = layer<HIDDEN, CORRECTED>(network, x, output);
        for (int k = 0; k < CORRECTED; ++k)
            EACH_LANE(lane) change[k][lane] += p.limits[k] * tanhf(output[k][lane]) / MEMBERS;
    }
}

INLINE float normalised(const Parameters& p, int entry, float value) {
    return clamped((value - p.mean[entry]) / p.std[entry], -LARGEST_INPUT, LARGEST_INPUT);
}

INLINE void rotate(float& x, float& y, float angle) {
    const float c = cosf(angle), n = sinf(angle), rotated = c * x - n * y;
    y = n * x + c * y;
    x = rotated;
}

INLINE Car corrected(const Parameters& p, const Car& car, const Car& predicted, float vx, float vy, float yaw_rate) {
    const Motion &from = car.motion, &to = predicted.motion;
    const float fade = least(fabsf(to.vx) / ROLLING_MPS, 1.0f), reach = MODEL_DT_S * p.guard_longitudinal;
    vx = clamped(to.vx + p.held_s[0] * vx * fade, from.vx - reach, from.vx + reach);
    const float speed = most(fabsf(vx), ROLLING_MPS), furthest = p.guard_sideslip * speed;
    vy = clamped(to.vy + p.held_s[1] * vy * fade, -furthest, furthest);
    const float fastest = p.guard_lateral / speed;
    yaw_rate = clamped(to.yaw_rate + p.held_s[2] * yaw_rate * fade, -fastest, fastest);

    float along = p.share[0] * (vx - to.vx), across = p.share[1] * (vy - to.vy);
#ifdef HAS_VELOCITY_SCALE
    along /= p.velocity_scale;
    across /= p.velocity_scale;
#endif
    const float turn = MODEL_DT_S * p.share[2] * (yaw_rate - to.yaw_rate), yaw = to.yaw + turn;
    float moved_x = to.x - from.x, moved_y = to.y - from.y, added_x = MODEL_DT_S * along, added_y = MODEL_DT_S * across;
    rotate(moved_x, moved_y, turn / 2);
    rotate(added_x, added_y, (from.yaw + yaw) / 2);
    return Car{Motion{from.x + moved_x + added_x, from.y + moved_y + added_y, yaw, vx, vy, yaw_rate},
               predicted.steering, predicted.acceleration};
}
