// Random numbers from a counter: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"),
// normal ones from pairs of them (Box and Muller 1958). The same counter gives the same numbers everywhere, in any
// order: a rollout draws its own without state and without waiting for others.

struct Words {
    uint32_t a, b, c, d;
};

INLINE Words philox(Words counter, uint32_t key_low, uint32_t key_high) {
    UNROLLED for (int round = 0; round < 10; ++round) {
        const uint64_t left = (uint64_t)0xD2511F53u * counter.a, right = (uint64_t)0xCD9E8D57u * counter.c;
        counter = Words{(uint32_t)(right >> 32) ^ counter.b ^ key_low, (uint32_t)right,
                        (uint32_t)(left >> 32) ^ counter.d ^ key_high, (uint32_t)left};
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
    return counter;
}

struct Normals {
    float a, b, c, d;
};

// Two independent standard normal numbers of two uniform words, the first of which is moved into (0, 1].
INLINE void box_muller(uint32_t first, uint32_t second, float& cosine, float& sine) {
    const float radius = sqrtf(-2.0f * logf(((float)(int)(first >> 8) + 1.0f) * 0x1p-24f));
    const float angle = (float)(int)(second >> 8) * (6.283185307179586f * 0x1p-24f);
    cosine = radius * cosf(angle);
    sine = radius * sinf(angle);
}

INLINE Normals normals(Words counter, uint32_t key_low, uint32_t key_high) {
    const Words words = philox(counter, key_low, key_high);
    Normals drawn;
    box_muller(words.a, words.b, drawn.a, drawn.b);
    box_muller(words.c, words.d, drawn.c, drawn.d);
    return drawn;
}
