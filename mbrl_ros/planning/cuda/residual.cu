// A learned residual without memory on a parametric base, as models/learned/model.py has it in torch.

#define SEEN 7
#define CORRECTED 3
#define ROLLING_MPS 0.3f
#define LARGEST_INPUT 5.0f

#define BLOCK 16  // outputs whose sums stay in registers

template <int INPUTS, int OUTPUTS, int COUNT>
INLINE void outputs(const float* weights, int from, const float (*x)[LANES], float (*y)[LANES]) {
    float sum[COUNT][LANES];
    UNROLLED for (int k = 0; k < COUNT; ++k) EACH_LANE(lane) sum[k][lane] = weights[INPUTS * OUTPUTS + from + k];
    for (int in = 0; in < INPUTS; ++in) {
        const float* row = weights + in * OUTPUTS + from;
        UNROLLED for (int k = 0; k < COUNT; ++k) EACH_LANE(lane) sum[k][lane] += row[k] * x[in][lane];
    }
    UNROLLED for (int k = 0; k < COUNT; ++k) EACH_LANE(lane) y[from + k][lane] = sum[k][lane];
}

// Weights [INPUTS, OUTPUTS], then the bias; returns what lies behind them.
template <int INPUTS, int OUTPUTS>
INLINE const float* layer(const float* weights, const float (*x)[LANES], float (*y)[LANES]) {
    constexpr int whole = OUTPUTS / BLOCK * BLOCK, rest = OUTPUTS - whole;
    UNROLLED for (int from = 0; from < whole; from += BLOCK) outputs<INPUTS, OUTPUTS, BLOCK>(weights, from, x, y);
    if constexpr (rest > 0) outputs<INPUTS, OUTPUTS, rest>(weights, whole, x, y);
    return weights + (INPUTS + 1) * OUTPUTS;
}

INLINE void silu(float (*x)[LANES]) {
    UNROLLED for (int k = 0; k < HIDDEN; ++k) EACH_LANE(lane) x[k][lane] = x[k][lane] / (1 + expf(-x[k][lane]));
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
