// One MPPI update in four kernels: draw commands, roll out, weigh, combine. See planning/mppi.py for the algorithm.
// A fifth shows where sequences lead, the mean's above all.
//
// Arrays are [entry, rollout], padded to `stride` rollouts. Commands are [past + horizon, 2, rollout]; those of the
// past are in front and the same for all.

#define ACTIONS 2
#define STATES 8
#define TERMS 8
#define COUNTED 128  // rollouts in which commands at a bound are counted

// Four standard normal numbers of a rollout and an action.
INLINE void draw(const Inputs& in, int rollout, int action, int knot, int lane, float (*white)[LANES]) {
    const uint32_t number = in.antithetic ? rollout / 2 : rollout;
    const float sign = in.antithetic && rollout % 2 ? -1.0f : 1.0f;
    const Words counter{number, (uint32_t)(knot / 4), (uint32_t)action, in.update};
    const Normals drawn = normals(counter, in.seed_low, in.seed_high);
    white[0][lane] = sign * drawn.a;
    white[1][lane] = sign * drawn.b;
    white[2][lane] = sign * drawn.c;
    white[3][lane] = sign * drawn.d;
}

KERNEL sample(const Inputs* inputs, const float* basis, float* commands, int count, int stride) {
    const Inputs& in = *inputs;
    EACH_GROUP(first, count) {
        for (int action = 0; action < ACTIONS; ++action) {
            float white[4 * ((KNOTS + 3) / 4)][LANES];
            for (int knot = 0; knot < KNOTS; knot += 4)
                EACH_LANE(lane) draw(in, first + lane, action, knot, lane, white + knot);
            float* column = commands + (size_t)action * stride + first;
            for (int past = 0; past < (int)in.past_count; ++past, column += ACTIONS * stride)
                EACH_LANE(lane) column[lane] = in.past[past][action];
            for (int step = 0; step < HORIZON; ++step, column += ACTIONS * stride) {
                float noise[LANES];
#ifdef WHITE
                EACH_LANE(lane) noise[lane] = white[step][lane];
#else
                EACH_LANE(lane) noise[lane] = 0.0f;
                for (int knot = 0; knot < KNOTS; ++knot) {
                    const float weight = basis[(action * HORIZON + step) * KNOTS + knot];
                    EACH_LANE(lane) noise[lane] += weight * white[knot][lane];
                }
#endif
                const float nominal = in.nominal[step][action], previous = in.previous[step][action];
                const float std = in.std[action], low = in.low[action], high = in.high[action];
                EACH_LANE(lane) {
                    const float drawn = clamped(nominal + std * noise[lane], low, high);
                    column[lane] = first + lane == 0 ? nominal : first + lane == 1 ? previous : drawn;
                }
            }
        }
    }
}

// What acts in a step: rows of `commands` and how much of the older one (core/delay.py).
struct Delayed {
    const float *newest, *older;
    float share;
};

INLINE Delayed acting(const Inputs& in, const float* commands, int action, int step, int stride) {
    const int whole = (int)floorf(in.delay_steps[action]), row = (int)in.past_count + step - whole;
    const float* newest = commands + ((size_t)row * ACTIONS + action) * stride;
    return Delayed{newest, row > 0 ? newest - ACTIONS * stride : newest, in.delay_steps[action] - whole};
}

struct Group {
    float x[LANES], y[LANES], yaw[LANES], vx[LANES], vy[LANES], yaw_rate[LANES], steering[LANES], acceleration[LANES];

    INLINE Car car(int lane) const {
        return Car{Motion{x[lane], y[lane], yaw[lane], vx[lane], vy[lane], yaw_rate[lane]}, steering[lane],
                   acceleration[lane]};
    }

    INLINE void keep(int lane, const Car& car) {
        x[lane] = car.motion.x;
        y[lane] = car.motion.y;
        yaw[lane] = car.motion.yaw;
        vx[lane] = car.motion.vx;
        vy[lane] = car.motion.vy;
        yaw_rate[lane] = car.motion.yaw_rate;
        steering[lane] = car.steering;
        acceleration[lane] = car.acceleration;
    }
};

// Everything about a rollout but where it is.
struct World {
    Parameters p;
    Task task;
    Actuators actuators;
    Map map;
    const float* network;
};

// A step of one lane: loops over lanes call functions, since compilers make vectors of nothing that has structs in it.
INLINE void advance(const World& w, Group& group, int lane, float steering, float drive, float& cost) {
    const Car car = group.car(lane), next = driven(w.p, w.actuators, car, steering, drive);
    cost += racing_terms(w.task, w.map, car, next, steering).sum();
    group.keep(lane, next);
}

#ifdef RESIDUAL

INLINE void predict(const World& w, const Group& group, Group& predicted, int lane, float steering, float drive,
                    float (*seen)[LANES]) {
    const Car car = group.car(lane), next = driven(w.p, w.actuators, car, steering, drive);
    const Car& shown = SEES_PREDICTED ? next : car;
    const float values[SEEN] = {shown.motion.vx, shown.motion.vy,    shown.motion.yaw_rate,   shown.steering,
                                shown.acceleration, steering - car.steering, drive - car.acceleration};
    for (int entry = 0; entry < SEEN; ++entry) seen[entry][lane] = normalised(w.p, entry, values[entry]);
    predicted.keep(lane, next);
}

INLINE void correct(const World& w, Group& group, const Group& predicted, int lane, const float (*change)[LANES]) {
    group.keep(lane, corrected(w.p, group.car(lane), predicted.car(lane), change[0][lane], change[1][lane],
                               change[2][lane]));
}

INLINE void charge(const World& w, const Group& before, const Group& after, int lane, float steering, float& cost) {
    cost += racing_terms(w.task, w.map, before.car(lane), after.car(lane), steering).sum();
}

INLINE void advance_all(const World& w, Group& group, const float* steering, const float* drive, float* cost) {
    const Group begun = group;
    for (int held = 0; held < HELD_STEPS; ++held) {
        Group predicted;
        float seen[SEEN][LANES], change[CORRECTED][LANES];
        EACH_LANE(lane) predict(w, group, predicted, lane, steering[lane], drive[lane], seen);
        changes(w.p, w.network, seen, change);
        EACH_LANE(lane) correct(w, group, predicted, lane, change);
    }
    EACH_LANE(lane) charge(w, begun, group, lane, steering[lane], cost[lane]);
}

#else

INLINE void advance_all(const World& w, Group& group, const float* steering, const float* drive, float* cost) {
    EACH_LANE(lane) advance(w, group, lane, steering[lane], drive[lane], cost[lane]);
}

#endif

INLINE void begin(const Inputs& in, Group& group, int lane) {
    const float* s = in.state;
    group.keep(lane, Car{Motion{s[0], s[1], s[2], s[3], s[4], s[5]}, s[6], s[7]});
}

KERNEL rollouts(const Inputs* inputs, const float* table, const int* nearest, const float* network,
                const float* commands, float* costs, float* pulls, int count, int stride) {
    const Inputs& in = *inputs;
#if defined(RESIDUAL) && defined(__CUDACC__)
    __shared__ float shared_network[NETWORK_SIZE];
    EACH_THREAD(k, NETWORK_SIZE) shared_network[k] = network[k];
    __syncthreads();
    network = shared_network;
#endif
    const World world{in.model, in.task, actuators_of(in.model), Map{table, nearest}, network};
    EACH_GROUP(first, count) {
        const World w = world;
        Group group;
        float cost[LANES], pull[LANES];
        EACH_LANE(lane) begin(in, group, lane);
        EACH_LANE(lane) cost[lane] = pull[lane] = 0.0f;
        for (int step = 0; step < HORIZON; ++step) {
            const Delayed wheel = acting(in, commands, 0, step, stride), drive = acting(in, commands, 1, step, stride);
            const float* sent = commands + ((size_t)in.past_count + step) * ACTIONS * stride + first;
            const float pull_steering = in.pull[step][0], pull_drive = in.pull[step][1];
            float steering[LANES], acceleration[LANES];
            EACH_LANE(lane) {
                const int k = first + lane;
                steering[lane] = wheel.newest[k] + wheel.share * (wheel.older[k] - wheel.newest[k]);
                acceleration[lane] = drive.newest[k] + drive.share * (drive.older[k] - drive.newest[k]);
                pull[lane] += pull_steering * sent[lane] + pull_drive * sent[stride + lane];
            }
            advance_all(w, group, steering, acceleration, cost);
        }
        EACH_LANE(lane) {
            costs[first + lane] = cost[lane];
            pulls[first + lane] = pull[lane];
        }
    }
}

// The state after a step [entry], and the sums of the cost's terms so far [term]; of one lane.
INLINE void show(const World& w, const Group& before, const Group& after, int lane, float steering, float* state,
                 float (*sums)[LANES], int stride) {
    const Car car = after.car(lane);
    const Motion& m = car.motion;
    const float values[STATES] = {m.x, m.y, m.yaw, m.vx, m.vy, m.yaw_rate, car.steering, car.acceleration};
    for (int entry = 0; entry < STATES; ++entry) state[entry * stride + lane] = values[entry];
    const Terms t = racing_terms(w.task, w.map, before.car(lane), car, steering);
    const float terms[TERMS] = {t.progress, t.lateral, t.heading, t.boundary, t.speed, t.slip, t.effort, t.rate};
    for (int term = 0; term < TERMS; ++term) sums[term][lane] += terms[term];
}

// `actions` are as they act: [horizon, 2, rollout]; `states` [horizon, 8, rollout] come after each step.
KERNEL trace(const Inputs* inputs, const float* table, const int* nearest, const float* network, const float* actions,
             float* states, float* terms, int count, int stride) {
    const Inputs& in = *inputs;
    const World w{in.model, in.task, actuators_of(in.model), Map{table, nearest}, network};
    EACH_GROUP(first, count) {
        Group group;
        float sums[TERMS][LANES], cost[LANES];
        EACH_LANE(lane) begin(in, group, lane);
        EACH_LANE(lane) cost[lane] = 0.0f;  // asked for by term
        for (int term = 0; term < TERMS; ++term) EACH_LANE(lane) sums[term][lane] = 0.0f;
        for (int step = 0; step < HORIZON; ++step) {
            const Group before = group;
            const float *steering = actions + (size_t)step * ACTIONS * stride + first, *drive = steering + stride;
            float* state = states + (size_t)step * STATES * stride + first;
            advance_all(w, group, steering, drive, cost);
            EACH_LANE(lane) show(w, before, group, lane, steering[lane], state, sums, stride);
        }
        for (int term = 0; term < TERMS; ++term) EACH_LANE(lane) terms[term * stride + first + lane] = sums[term][lane];
    }
}

INLINE bool usable(float cost, float pull) { return fabsf(cost) <= 3e38f && fabsf(pull) <= 3e38f; }

INLINE double joined(const float* partial) {
    double sum = 0.0;
    for (int lane = 0; lane < LANES; ++lane) sum += partial[lane];
    return sum;
}

struct Weighing {
    const float *costs, *pulls;
    int count;
    float lowest;

    // Of exp(exponent - largest), which is what weights are but for their sum.
    INLINE float exponent(int k, float temperature) const {
        return usable(costs[k], pulls[k]) ? -(costs[k] - lowest) / temperature - pulls[k] : -3e38f;
    }

    INLINE float largest(float temperature) const {
        double found = -3e38;
        EACH_THREAD(k, count) found = Largest()(found, exponent(k, temperature));
        return (float)block_join(found, Largest());
    }

    INLINE float term(int k, float temperature, float largest, float power) const {
        return k < count ? expf(power * (exponent(k, temperature) - largest)) : 0.0f;
    }

    INLINE double sum(float temperature, float largest, float power) const {
        float partial[LANES];
        EACH_LANE(lane) partial[lane] = 0.0f;
        EACH_THREAD(group, (count + LANES - 1) / LANES)
            EACH_LANE(lane) partial[lane] += term(LANES * group + lane, temperature, largest, power);
        return block_join(joined(partial), Sum());
    }

    INLINE double size(float temperature) const {
        const float top = largest(temperature);
        const double all = sum(temperature, top, 1.0f);
        return all * all / sum(temperature, top, 2.0f);
    }

    // The temperature of `planning.weighting.weigh`: bracketed by doubling and halving, then bisected.
    INLINE float temperature_for(double target, float guess) const {
        float low = guess, high = guess;
        int tries = 0;
        for (; tries < 60 && size(low) > target; ++tries) low /= 2;
        if (tries == 60) return guess;
        for (tries = 0; tries < 60 && size(high) < target; ++tries) high *= 2;
        if (tries == 60) return guess;
        for (int halving = 0; halving < 6; ++halving) {
            const float middle = sqrtf(low * high);
            if (size(middle) < target) low = middle;
            else high = middle;
        }
        return sqrtf(low * high);
    }
};

// In a single block.
KERNEL weigh(const Inputs* inputs, const float* costs, const float* pulls, const float* commands, float* weights,
             Outcome* outcome, int count, int stride) {
    const Inputs& in = *inputs;
    double lowest = -3e38, finite = 0.0, met = 0.0;
    EACH_THREAD(k, count) {
        const bool counts = usable(costs[k], pulls[k]);
        lowest = Largest()(lowest, counts ? -costs[k] : -3e38f);
        finite += counts;
    }
    finite = block_join(finite, Sum());
    const Weighing weighing{costs, pulls, count, (float)-block_join(lowest, Largest())};
    float temperature = in.temperature;
    if (finite > 0 && in.effective_share > 0) temperature = weighing.temperature_for(in.effective_share * finite, temperature);
    const float largest = weighing.largest(temperature);
    const double sum = weighing.sum(temperature, largest, 1.0f), squares = weighing.sum(temperature, largest, 2.0f);
    EACH_THREAD(k, stride)
        weights[k] = k < count && finite > 0 ? (float)(expf(weighing.exponent(k, temperature) - largest) / sum) : 0.0f;
    const int few = count < COUNTED ? count : COUNTED;
    EACH_THREAD(k, few * HORIZON * ACTIONS) {
        const int row = k / few, action = row % ACTIONS;
        const float command = commands[((size_t)in.past_count * ACTIONS + row) * stride + k % few];
        met += command <= in.low[action] || command >= in.high[action];
    }
    met = block_join(met, Sum());
    if (FIRST_THREAD) {
        outcome->temperature = temperature;
        outcome->effective_size = finite > 0 ? (float)(sum * sum / squares) : 0.0f;
        outcome->finite_share = (float)(finite / count);
        outcome->saturation_share = (float)(met / (few * HORIZON * ACTIONS));
    }
}

// The weighted mean of what was sampled: a block for each step and action.
KERNEL combine(const Inputs* inputs, const float* weights, const float* commands, Outcome* outcome, int count,
               int stride) {
    EACH_BLOCK(entry, HORIZON * ACTIONS) {
        const float* sampled = commands + ((size_t)inputs->past_count * ACTIONS + entry) * stride;
        float partial[LANES];
        EACH_LANE(lane) partial[lane] = 0.0f;
        EACH_THREAD(group, (count + LANES - 1) / LANES)
            EACH_LANE(lane) partial[lane] += weights[LANES * group + lane] * sampled[LANES * group + lane];
        const double sum = block_join(joined(partial), Sum());
        if (FIRST_THREAD) outcome->nominal[entry / ACTIONS][entry % ACTIONS] = (float)sum;
    }
}
