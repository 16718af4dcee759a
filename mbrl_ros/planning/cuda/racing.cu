// Cost of a step of racing, as core/tasks/racing.py and core/track_grid.py have it in torch, where it is explained.

#define LARGEST 1e6f
#define SOFTNESS 0.1f
#define GRID_STRETCH 0.1f   // smallest, of the projection
#define TASK_STRETCH 0.2f   // smallest, of progress
#define TABLE_COLUMNS 13

struct Map {
    const float* table;  // [M, 13]
    const int* nearest;  // [rows * columns]
};

struct Place {
    float lateral, heading, curvature, width_left, width_right, speed;
};

INLINE Place place_of(const Task& task, const Map& map, float x, float y) {
    const float last_column = task.grid_last_cell[0], last_row = task.grid_last_cell[1];
    const float along_x = (x - task.grid_origin[0]) * task.grid_cells_per_m;
    const float along_y = (y - task.grid_origin[1]) * task.grid_cells_per_m;
    const int column = (int)least(last_column, most(0.0f, along_x));  // what is not a number becomes zero
    const int row = (int)least(last_row, most(0.0f, along_y));
    const int sample = TABLE_COLUMNS * map.nearest[row * ((int)last_column + 1) + column];

    const float dx = x - map.table[sample + 0], dy = y - map.table[sample + 1], c = map.table[sample + 2], n = map.table[sample + 3];
    const float curvature = map.table[sample + 5], bend = map.table[sample + 6], reach = 4 * task.grid_spacing;
    float ahead = c * dx + n * dy, beside = c * dy - n * dx;
    const float beyond = most(fabsf(ahead) - reach / 2, 0.0f);
    float t = clamped(ahead / most(1 - curvature * beside, GRID_STRETCH), -reach, reach);
    const float angle = t * (curvature + bend * t / 2);
    const float tangent_x = cosf(angle), tangent_y = sinf(angle), bent = curvature * t;
    ahead -= t * (1 - bent * (bent / 6 + bend * t * t / 8));
    beside -= t * (bent / 2 + bend * t * t / 6 - bent * bent * bent / 24);
    const float along = tangent_x * ahead + tangent_y * beside, across = tangent_x * beside - tangent_y * ahead;
    const float here = curvature + bend * t;
    const float step = clamped(along / most(1 - here * across, GRID_STRETCH), -reach, reach);
    const float lateral = across - here * step * along / 2 + (across >= 0 ? beyond : -beyond);
    t += step;
    return Place{lateral,
                 map.table[sample + 4] + t * (curvature + bend * t / 2),
                 curvature + bend * t,
                 map.table[sample + 7] + map.table[sample + 8] * t,
                 map.table[sample + 9] + map.table[sample + 10] * t,
                 map.table[sample + 11] + map.table[sample + 12] * t};
}

INLINE float excess(float value) { return (value + sqrtf(value * value + SOFTNESS * SOFTNESS)) / 2; }

INLINE float held_finite(float value) { return clamped(value, -LARGEST, LARGEST); }

INLINE float wall(const Task& task, float clearance) {
    const float used = 1 - clearance / (task.boundary_margin * task.car_width);
    const float beyond = 1 / (1 + expf((1 - used) / SOFTNESS));
    return task.boundary_weight * squared(excess(used)) + task.crossing_weight * beyond;
}

// What a step costs by term, in the order of `RacingTask.term_names`.
struct Terms {
    float progress, lateral, heading, boundary, speed, slip, effort, rate;

    INLINE float sum() const { return progress + lateral + heading + boundary + speed + slip + effort + rate; }
};

// Cost of the step from `before` to `after`: each term a negative reward.
INLINE Terms racing_terms(const Task& task, const Map& map, const Car& before, const Car& after, float steering_command) {
    const Motion& m = after.motion;
    const Place place = place_of(task, map, held_finite(m.x), held_finite(m.y));
    const float vx = held_finite(m.vx), vy = held_finite(m.vy), yaw_rate = held_finite(m.yaw_rate);
    const float steering = held_finite(after.steering), acceleration = held_finite(after.acceleration);
    const float error = held_finite(m.yaw) - place.heading, c = cosf(error);
    const float stretch = most(1 - place.curvature * place.lateral, TASK_STRETCH);
    const float progress = (vx * c - vy * sinf(error)) / stretch / task.top_speed;
    const float offset = place.lateral / ((place.width_left + place.width_right) / 2);
    const float side = task.car_width / 2;
    const float boundary = wall(task, place.width_left - place.lateral - side) +
                           wall(task, place.width_right + place.lateral - side);
    const float too_fast = excess(vx / least(place.speed, task.speed_cap) - 1);
    const float counted = (acceleration > 0 ? task.forward_demand : task.braking_demand) * acceleration;
    const float demand = sqrtf(squared(vx * yaw_rate) + squared(counted) + 1e-6f) / task.acceleration_limit_mps2;
    const float angle = atan2f(vy, sqrtf(vx * vx + 1));
    const float slip = sqrtf(angle * angle + 1e-6f) / task.slip_angle_limit_rad;
    const float effort =
        squared(steering / task.actuators_steering_limit) + squared(acceleration / task.actuators_acceleration_limit);
    const float change = (held_finite(steering_command) - held_finite(before.steering)) / task.actuators_steering_limit;
    const float jerk = (acceleration - held_finite(before.acceleration)) / (TASK_DT_S * task.actuators_jerk_limit);
    return Terms{-task.progress_weight * progress * TASK_DT_S,
                 task.lateral_weight * squared(offset) * TASK_DT_S,
                 task.heading_weight * (2 - 2 * c) * TASK_DT_S,
                 boundary * TASK_DT_S,
                 task.speed_weight * squared(too_fast) * TASK_DT_S,
                 task.slip_weight * (squared(excess(demand - 1)) + squared(excess(slip - 1))) * TASK_DT_S,
                 task.effort_weight * effort * TASK_DT_S,
                 task.rate_weight * (squared(change) + squared(jerk)) * TASK_DT_S};
}
