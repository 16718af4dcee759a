// Parametric models, as models/parametric has them in torch, where the equations are explained; the test
// test/planning/cuda holds the two equal. Parameters that a model lacks are absent here, too (HAS_...).


struct Motion {
    float x, y, yaw, vx, vy, yaw_rate;
};

struct Car {
    Motion motion;
    float steering, acceleration;
};

struct Held {
    float steering, tan_steering, tan_steering_end, steering_change, acceleration;
};

INLINE Motion along(const Motion& s, const Motion& slope, float h) {
    return Motion{s.x + h * slope.x,   s.y + h * slope.y,   s.yaw + h * slope.yaw,
                  s.vx + h * slope.vx, s.vy + h * slope.vy, s.yaw_rate + h * slope.yaw_rate};
}

template <class Equations>
INLINE Motion integrated(const Equations& equations, const Motion& s, float h) {
    const Motion a = equations.slope(s);
#ifdef RK4
    const Motion b = equations.slope(along(s, a, h / 2));
    const Motion c = equations.slope(along(s, b, h / 2));
    const Motion d = equations.slope(along(s, c, h));
    const Motion sum{a.x + 2 * (b.x + c.x) + d.x,       a.y + 2 * (b.y + c.y) + d.y,
                     a.yaw + 2 * (b.yaw + c.yaw) + d.yaw, a.vx + 2 * (b.vx + c.vx) + d.vx,
                     a.vy + 2 * (b.vy + c.vy) + d.vy,   a.yaw_rate + 2 * (b.yaw_rate + c.yaw_rate) + d.yaw_rate};
    return along(s, sum, h / 6);
#elif defined(HEUN)
    const Motion b = equations.slope(along(s, a, h));
    const Motion sum{a.x + b.x,   a.y + b.y,   a.yaw + b.yaw,
                     a.vx + b.vx, a.vy + b.vy, a.yaw_rate + b.yaw_rate};
    return along(s, sum, h / 2);
#else  // Euler
    return along(s, a, h);
#endif
}

INLINE float resisted(float acceleration, const Parameters& p, float vx) {
#ifdef HAS_ROLLING_RESISTANCE
    acceleration -= p.rolling_resistance * tanhf(vx / 0.1f);
#endif
#ifdef HAS_DRAG
    acceleration -= p.drag * vx * fabsf(vx);
#endif
    return acceleration;
}

INLINE float reference_lever(const Parameters& p) {
#if defined(AT_CG)
    return p.rear_fraction * p.wheelbase;
#elif defined(AT_FRONT_AXLE)
    return p.wheelbase;
#else
    return 0.0f;
#endif
}

#ifdef KINEMATIC

struct Kinematic {
    const Parameters& p;
    const Held& held;
    float lever;

    INLINE float yaw_rate_of(float vx, float tan_steering) const {
        return vx * tan_steering / (p.wheelbase + p.understeer * vx * vx);
    }

    INLINE Motion slope(const Motion& s) const {
        const float yaw_rate = yaw_rate_of(s.vx, held.tan_steering), vy = lever * yaw_rate;
        const float c = cosf(s.yaw), n = sinf(s.yaw);
        return Motion{s.vx * c - vy * n, s.vx * n + vy * c, yaw_rate, resisted(held.acceleration, p, s.vx), 0.0f, 0.0f};
    }
};

INLINE Motion moved(const Parameters& p, const Motion& s, const Held& held, float h) {
    const Kinematic equations{p, held, reference_lever(p)};
    Motion end = integrated(equations, s, h);
    end.yaw_rate = equations.yaw_rate_of(end.vx, held.tan_steering_end);
    end.vy = equations.lever * end.yaw_rate;
    return end;
}

#else  // single track

#define GRAVITY 9.81f
#define RETURN_PER_S 20.0f

struct Tyre {
    float b, c, d, e;

    INLINE float force(float slip) const {
        float reduced = b * slip;
#if defined(HAS_CURVATURE_FRONT) || defined(HAS_CURVATURE_REAR)
        reduced -= e * (reduced - atanf(reduced));
#endif
        return d * sinf(c * atanf(reduced));
    }
};

struct SingleTrack {
    const Parameters& p;
    const Held& held;
    float ahead_of_rear, behind_front, behind_cg, turn_front, turn_rear;
    float cos_steering, sin_steering, curvature, curvature_rate;
    Tyre front, rear;

    INLINE Motion slope(const Motion& s) const {
        const float speed = fabsf(s.vx);
        const float part = clamped((speed - p.blend_start) * (1 / p.blend_width), 0.0f, 1.0f);
        const float share = part * part * (3 - 2 * part);

        const float per_speed = 1 / most(speed, p.blend_start), direction = s.vx * per_speed;
        const float slip_front = direction * held.steering - atanf((s.vy + behind_front * s.yaw_rate) * per_speed);
        const float slip_rear = atanf((ahead_of_rear * s.yaw_rate - s.vy) * per_speed);
        const float force_front = front.force(slip_front), force_rear = rear.force(slip_rear);
        const float across = force_front * cos_steering;
        const float cornering = (s.vy + behind_cg * s.yaw_rate) * s.yaw_rate - force_front * sin_steering;
        const float vx_rate = resisted(held.acceleration, p, s.vx) + p.cornering_drag * share * cornering;

        const float turning = turn_front * across - turn_rear * force_rear;
        const float turning_slow =
            vx_rate * curvature + s.vx * curvature_rate + RETURN_PER_S * (s.vx * curvature - s.yaw_rate);
        const float sliding = across + force_rear - s.vx * s.yaw_rate - behind_cg * turning;
        const float sliding_slow = ahead_of_rear * turning_slow + RETURN_PER_S * (ahead_of_rear * s.yaw_rate - s.vy);

        const float c = cosf(s.yaw), n = sinf(s.yaw);
        return Motion{s.vx * c - s.vy * n,
                      s.vx * n + s.vy * c,
                      s.yaw_rate,
                      vx_rate,
                      sliding_slow + share * (sliding - sliding_slow),
                      turning_slow + share * (turning - turning_slow)};
    }
};

INLINE Motion moved(const Parameters& p, const Motion& s, const Held& held, float h) {
    const float l_r = p.rear_fraction * p.wheelbase, l_f = p.wheelbase - l_r, lever = reference_lever(p);
    const float squared_secant = 1 + held.tan_steering * held.tan_steering;
    const float cos_steering = 1 / sqrtf(squared_secant);
    float load_front = GRAVITY * p.rear_fraction, load_rear = GRAVITY * (1 - p.rear_fraction);
#ifdef HAS_CG_HEIGHT_RATIO
    const float transfer = p.cg_height_ratio * held.acceleration;
    load_front = most(load_front - transfer, 0.0f);
    load_rear = most(load_rear + transfer, 0.0f);
#endif
    Tyre front{p.stiffness_front / (p.shape_front * p.friction_front), p.shape_front, p.friction_front * load_front, 0};
    Tyre rear{p.stiffness_rear / (p.shape_rear * p.friction_rear), p.shape_rear, p.friction_rear * load_rear, 0};
#ifdef HAS_CURVATURE_FRONT
    front.e = p.curvature_front;
#endif
#ifdef HAS_CURVATURE_REAR
    rear.e = p.curvature_rear;
#endif
    const SingleTrack equations{p,
                                held,
                                lever,
                                p.wheelbase - lever,
                                l_r - lever,
                                1 / (p.yaw_inertia_ratio * l_r),
                                1 / (p.yaw_inertia_ratio * l_f),
                                cos_steering,
                                held.tan_steering * cos_steering,
                                held.tan_steering / p.wheelbase,
                                squared_secant * held.steering_change / (h * p.wheelbase),
                                front,
                                rear};
    return integrated(equations, s, h);
}

#endif

// How an actuator answers to a held target within a substep: the share of the way that it goes, the mean on the way,
// and the furthest that its rate limit lets it go (infinite without one).
struct Response {
    float closed, weight, reach;
};

INLINE Response immediate() { return Response{1.0f, 1.0f, INFINITY}; }

INLINE Response lagging(Response response, float h, float lag) {
    lag = most(lag, 1e-6f);
    response.closed = -expm1f(-h / lag);
    response.weight = 1 / response.closed - lag / h;
    return response;
}

struct Actuators {
    Response steering, drive;
};

INLINE Actuators actuators_of(const Parameters& p) {
    const float h = MODEL_DT_S / SUBSTEPS;
    Actuators found{immediate(), immediate()};
#ifdef HAS_STEERING_LAG
    found.steering = lagging(found.steering, h, p.steering_lag);
#endif
#ifdef HAS_STEERING_RATE_LIMIT
    found.steering.reach = p.steering_rate_limit * h;
#endif
#ifdef HAS_DRIVE_LAG
    found.drive = lagging(found.drive, h, p.drive_lag);
#endif
#ifdef HAS_DRIVE_RATE_LIMIT
    found.drive.reach = p.drive_rate_limit * h;
#endif
    return found;
}

struct Moved {
    float end, mean;
};

INLINE Moved answered(const Response& response, float value, float target) {
    const float change = clamped(response.closed * (target - value), -response.reach, response.reach);
    const float weight = response.weight - (response.weight - 0.5f) * fabsf(change) / response.reach;
    return Moved{value + change, value + weight * change};
}

INLINE Car driven(const Parameters& p, const Actuators& actuators, Car car, float steering_command, float drive_command) {
    const float h = MODEL_DT_S / SUBSTEPS;
    const float steering_target = p.steering_scale * steering_command + p.steering_offset;
    const float wanted = p.acceleration_scale * drive_command + p.acceleration_offset;
    Motion& m = car.motion;
#ifdef HAS_VELOCITY_SCALE
    m.vx /= p.velocity_scale;
    m.vy /= p.velocity_scale;
#endif
#ifdef HAS_HEADING_OFFSET
    const float c = cosf(p.heading_offset), n = sinf(p.heading_offset);
    m.yaw -= p.heading_offset;
    const float vx = c * m.vx - n * m.vy;
    m.vy = n * m.vx + c * m.vy;
    m.vx = vx;
#endif
    for (int substep = 0; substep < SUBSTEPS; ++substep) {
        const Moved drive = answered(actuators.drive, car.acceleration, wanted);
        const Moved wheel = answered(actuators.steering, car.steering, steering_target);
        const float delivered = most(drive.mean, least(-m.vx / h, 0.0f));
        const Held held{wheel.mean, tanf(wheel.mean), tanf(wheel.end), wheel.end - car.steering, delivered};
        m = moved(p, m, held, h);
        car.steering = wheel.end;
        car.acceleration = drive.end;
    }
#ifdef HAS_HEADING_OFFSET
    m.yaw += p.heading_offset;
    const float recorded_vx = c * m.vx + n * m.vy;
    m.vy = c * m.vy - n * m.vx;
    m.vx = recorded_vx;
#endif
#ifdef HAS_VELOCITY_SCALE
    m.vx *= p.velocity_scale;
    m.vy *= p.velocity_scale;
#endif
    return car;
}
