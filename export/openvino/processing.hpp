// Pre- and post-processing as in processing.py, integer for integer: only exp() may round another way.
//
// Images are (height, width, channels), row by row. Errors are std::invalid_argument, with the words of processing.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace lawder {

template <class Sample>
struct Image {
    std::size_t height = 0, width = 0, channels = 0;
    std::vector<Sample> samples;

    std::size_t pixels() const { return height * width; }
};

// (H, W, 3) RGB or (H, W, 1) grey, 0..255.
using Frame = Image<std::uint8_t>;

struct Size {
    std::size_t height = 0, width = 0;
};

// The weights of one axis. Output i is made of inputs first[i] ... first[i] + count[i] - 1; its weights start at
// i * stride and sum to 2^14.
struct Taps {
    std::vector<std::size_t> first, count;
    std::vector<std::int32_t> weights;
    std::size_t stride = 0;
};

constexpr int kBits = 14;
constexpr std::size_t kMaxShrink = 1024;

// As `taps` in processing.py, where the rule is written down.
inline Taps make_taps(std::size_t source, std::size_t target) {
    const std::string asked =
        "resize from " + std::to_string(source) + " to " + std::to_string(target) + " samples: ";
    if (source < 1 || target < 1) throw std::invalid_argument(asked + "both must be at least 1");
    if (source > kMaxShrink * target)
        throw std::invalid_argument(asked + "shrinks by at most " + std::to_string(kMaxShrink) + ", crop or tile first");
    const auto from = static_cast<std::int64_t>(source), to = static_cast<std::int64_t>(target);
    const std::int64_t support = 2 * std::max(from, to);
    Taps taps;
    taps.stride = static_cast<std::size_t>(support / to + 1);
    taps.weights.assign(target * taps.stride, 0);
    for (std::int64_t i = 0; i < to; ++i) {
        const std::int64_t centre = (2 * i + 1) * from;
        const std::int64_t before = centre - support - to;
        const std::int64_t first = before < 0 ? 0 : before / (2 * to) + 1;
        const std::int64_t last = std::min(first + support / to, from - 1);
        std::vector<std::int64_t> raw;
        std::int64_t total = 0;
        for (std::int64_t j = first; j <= last; ++j) {
            const std::int64_t distance = (2 * j + 1) * to - centre;
            raw.push_back(std::max<std::int64_t>(support - (distance < 0 ? -distance : distance), 0));
            total += raw.back();
        }
        std::int32_t* weights = taps.weights.data() + static_cast<std::size_t>(i) * taps.stride;
        std::int32_t missing = 1 << kBits;
        for (std::size_t t = 0; t < raw.size(); ++t) {
            weights[t] = static_cast<std::int32_t>(((raw[t] << (kBits + 1)) + total) / (2 * total));
            missing -= weights[t];
        }
        weights[std::max_element(raw.begin(), raw.end()) - raw.begin()] += missing;
        taps.first.push_back(static_cast<std::size_t>(first));
        taps.count.push_back(raw.size());
    }
    return taps;
}

// The middle axis of (outer, source, inner) -> (outer, target, inner), in samples of 8 or 16 bits.
template <class Sample>
std::vector<Sample> resize_axis(
    const std::vector<Sample>& in, std::size_t outer, std::size_t source, std::size_t inner, std::size_t target) {
    const Taps taps = make_taps(source, target);
    std::vector<Sample> out(outer * target * inner);
    std::vector<std::int32_t> total(inner);
    for (std::size_t o = 0; o < outer; ++o) {
        for (std::size_t i = 0; i < target; ++i) {
            std::fill(total.begin(), total.end(), 1 << (kBits - 1));
            for (std::size_t t = 0; t < taps.count[i]; ++t) {
                const std::int32_t weight = taps.weights[i * taps.stride + t];
                const Sample* samples = in.data() + (o * source + taps.first[i] + t) * inner;
                for (std::size_t k = 0; k < inner; ++k) total[k] += weight * samples[k];
            }
            Sample* made = out.data() + (o * target + i) * inner;
            // Beyond 128x the largest weight can be negative, and so a sum: shifted down it is clamped to 0 all the same.
            for (std::size_t k = 0; k < inner; ++k)
                made[k] = static_cast<Sample>(
                    std::min<std::int32_t>(std::max(total[k], 0) >> kBits, std::numeric_limits<Sample>::max()));
        }
    }
    return out;
}

// Columns first, then rows.
template <class Sample>
Image<Sample> resize(const Image<Sample>& image, Size size) {
    Image<Sample> made = image;
    if (made.width != size.width)
        made.samples = resize_axis(made.samples, made.height, made.width, made.channels, size.width);
    made.width = size.width;
    if (made.height != size.height)
        made.samples = resize_axis(made.samples, 1, made.height, made.width * made.channels, size.height);
    made.height = size.height;
    return made;
}

// Integer luma (77 R + 150 G + 29 B + 128) >> 8.
inline Frame grey(const Frame& frame) {
    Frame made{frame.height, frame.width, 1, std::vector<std::uint8_t>(frame.pixels())};
    for (std::size_t n = 0; n < frame.pixels(); ++n) {
        const std::uint8_t* rgb = frame.samples.data() + 3 * n;
        made.samples[n] = static_cast<std::uint8_t>((77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2] + 128) >> 8);
    }
    return made;
}

// A frame as the network takes it, written to `out`: (channels, h, w) in [-1, 1). channels: 3, or 1 for luma.
inline void to_tensor(const Frame& frame, Size size, std::size_t channels, float* out) {
    const Frame resized = resize(channels == 1 && frame.channels == 3 ? grey(frame) : frame, size);
    for (std::size_t c = 0; c < channels; ++c)
        for (std::size_t n = 0; n < resized.pixels(); ++n) {
            const std::size_t from = resized.channels == 1 ? n : n * resized.channels + c;
            *out++ = (static_cast<float>(resized.samples[from]) - 128.0f) / 128.0f;
        }
}

// Sigmoid for one class, softmax for several. logits: (classes, pixels), changed in place.
inline void probabilities(std::vector<float>& logits, std::size_t classes) {
    if (classes == 1) {
        for (float& x : logits) {
            const float decay = std::exp(-std::fabs(x));
            x = x >= 0 ? 1 / (1 + decay) : decay / (1 + decay);
        }
        return;
    }
    const std::size_t pixels = logits.size() / classes;
    for (std::size_t n = 0; n < pixels; ++n) {
        float largest = logits[n], sum = 0;
        for (std::size_t c = 1; c < classes; ++c) largest = std::max(largest, logits[c * pixels + n]);
        for (std::size_t c = 0; c < classes; ++c) {
            float& x = logits[c * pixels + n];
            x = std::exp(x - largest);
            sum += x;
        }
        for (std::size_t c = 0; c < classes; ++c) logits[c * pixels + n] /= sum;
    }
}

// Probability of anything but background, which is class 0 where there are several. probability: (classes, pixels).
inline std::vector<float> foreground(const std::vector<float>& probability, std::size_t classes) {
    if (classes == 1) return probability;
    const std::size_t pixels = probability.size() / classes;
    std::vector<float> total(pixels, 0.0f);
    for (std::size_t c = 1; c < classes; ++c)
        for (std::size_t n = 0; n < pixels; ++n) total[n] += probability[c * pixels + n];
    for (float& x : total) x = std::min(x, 1.0f);
    return total;
}

// A probability map (h, w) resized to `size`, in steps of 1/65535.
inline Image<std::uint16_t> prob_to_size(const float* probability, Size from, Size size) {
    Image<std::uint16_t> steps{from.height, from.width, 1, {}};
    steps.samples.reserve(steps.pixels());
    for (std::size_t n = 0; n < steps.pixels(); ++n) {
        if (!(probability[n] >= 0 && probability[n] <= 1))
            throw std::invalid_argument(
                "probabilities outside [0, 1] or not a number: the network's output cannot be used");
        steps.samples.push_back(
            static_cast<std::uint16_t>(std::floor(static_cast<double>(probability[n]) * 65535 + 0.5)));
    }
    return resize(steps, size);
}

// The class of every pixel, 0 for background: with one class 1 from `threshold`, with several the most probable, the
// first of equals. maps: one a class, as `prob_to_size` gives them.
inline Image<std::uint8_t> labels(const std::vector<Image<std::uint16_t>>& maps, double threshold) {
    const Image<std::uint16_t>& first = maps.at(0);
    Image<std::uint8_t> made{first.height, first.width, 1, std::vector<std::uint8_t>(first.pixels(), 0)};
    const auto cut = static_cast<float>(threshold);
    for (std::size_t n = 0; n < first.pixels(); ++n) {
        if (maps.size() == 1) {
            made.samples[n] = static_cast<float>(first.samples[n]) / 65535.0f >= cut ? 1 : 0;
            continue;
        }
        std::size_t best = 0;
        for (std::size_t c = 1; c < maps.size(); ++c)
            if (maps[c].samples[n] > maps[best].samples[n]) best = c;
        made.samples[n] = static_cast<std::uint8_t>(best);
    }
    return made;
}

}  // namespace lawder
