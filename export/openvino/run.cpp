// Segment images with this bundle, on a device without Python: C++17, OpenVINO and libpng.
//
// To compile, in the bundle, where pip has installed openvino (it carries the headers) and Debian g++ and libpng-dev:
//
//     OV=$(python3 -c 'import os, openvino; print(os.path.dirname(openvino.__file__))')
//     g++ -std=c++17 -O2 run.cpp -o run -isystem "$OV/include" "$OV"/libs/libopenvino.so.* -Wl,-rpath,"$OV/libs" -lpng

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "pictures.hpp"
#include "processing.hpp"

namespace lawder {

constexpr char kUsage[] = R"(usage: run [--bundle DIR] [--threads N] [--overwrite] FRAME MASK.pgm
       run [--bundle DIR] [--threads N] --check

Segment a frame with a bundle, on a device without Python.

  FRAME          binary PPM, PGM or PNG; for others: ffmpeg -i IN OUT.ppm
  MASK.pgm       is written: 0 and 255 for one class, else the numbers of the classes
  --check        compare this device with the golden frames in the bundle
  --bundle DIR   default: the folder that this program lies in
  --threads N    0, the default: OpenVINO's choice
  --overwrite    replace a mask that exists

for example: run photo.ppm mask.pgm

Results go to stdout, messages to stderr. Exit codes: 0 ok, 2 bad input, 3 the check failed, 4 the runtime is missing.
)";

// Mask Dice of the worst golden frame against PyTorch in float32, by precision; the limits of device.py.
const std::map<std::string, double> kLeastDice = {{"fp32", 0.999}, {"fp16", 0.99}, {"int8", 0.95}};

struct Options {
    std::filesystem::path bundle, frame, mask;
    int threads = 0;
    bool check = false, overwrite = false, help = false;
};

// The first line of what OpenVINO says that is not the place in its own source.
inline std::string said_by(const std::exception& error) {
    const std::string text = error.what();
    std::size_t end = text.find_last_not_of(" \n.");
    if (end == std::string::npos) return "no reason given";
    const std::size_t start = text.find_last_of('\n', end);
    return text.substr(start == std::string::npos ? 0 : start + 1, std::min<std::size_t>(end - start, 300));
}

// The bundle's network in OpenVINO on the CPU.
class Network {
public:
    Network(const Settings& settings, int threads) : settings_(settings) {
        const std::string version = ov::get_openvino_version().buildNumber;
        const std::vector<std::string> devices = core_.get_available_devices();
        if (std::find(devices.begin(), devices.end(), "CPU") == devices.end())
            throw Failure("OpenVINO " + version +
                              " finds no CPU plugin (libopenvino_intel_cpu_plugin.so, or _arm_) beside its library: "
                              "pip install --force-reinstall openvino, and compile again",
                          kRuntimeMissing);
        // In float32 where it is not int8: processors with AMX take bfloat16 unasked, which moves the mask.
        ov::AnyMap config{ov::hint::inference_precision(ov::element::f32),
                          ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY)};
        if (threads > 0) config.insert(ov::inference_num_threads(threads));
        const std::string name = settings.model.filename().string();
        try {
            const std::shared_ptr<ov::Model> model = core_.read_model(settings.model.string());
            check_interface(*model, name);
            compiled_ = core_.compile_model(model, "CPU", config);
        } catch (const ov::Exception& error) {
            throw Failure(name + ": OpenVINO " + version + " refuses it (" + said_by(error) + "). Update openvino.");
        }
        request_ = compiled_.create_infer_request();
    }

    // Probabilities at the network's size, (classes, pixels).
    std::vector<float> infer(const Frame& frame) {
        const Size size = settings_.size;
        ov::Tensor input(ov::element::f32, {1, settings_.channels, size.height, size.width});
        to_tensor(frame, size, settings_.channels, input.data<float>());
        request_.set_input_tensor(input);
        try {
            request_.infer();
        } catch (const ov::Exception& error) {
            throw Failure(settings_.model.filename().string() + ": OpenVINO fails on an input of " +
                          text_of(input.get_shape()) + " (" + said_by(error) + "). Export with a fixed --size.");
        }
        const ov::Tensor output = request_.get_output_tensor();
        const ov::Shape wanted{1, settings_.classes, size.height, size.width};
        if (output.get_shape() != wanted)
            throw Failure(settings_.model.filename().string() + ": gives " + text_of(output.get_shape()) +
                          ", the manifest says " + text_of(wanted) + ". Export the bundle again.");
        const float* first = output.data<const float>();
        std::vector<float> values(first, first + output.get_size());
        if (settings_.kind == "logits") probabilities(values, settings_.classes);
        // What a runtime rounded past 0 or 1; what lies further out is refused where it is used.
        for (float& value : values)
            if (value >= -1e-5f && value <= 1 + 1e-5f) value = std::min(std::max(value, 0.0f), 1.0f);
        return values;
    }

private:
    void check_interface(const ov::Model& model, const std::string& name) const {
        if (model.inputs().size() != 1 || model.outputs().size() != 1)
            throw Failure(name + ": has " + std::to_string(model.inputs().size()) + " inputs and " +
                          std::to_string(model.outputs().size()) + " outputs, this run.cpp knows one of each. Use the "
                          "run.py that was exported with the bundle.");
        const ov::element::Type in = model.input().get_element_type(), out = model.output().get_element_type();
        if (in != ov::element::f32 || out != ov::element::f32)
            throw Failure(name + ": takes " + in.get_type_name() + " and gives " + out.get_type_name() +
                          ", this run.cpp knows f32 for both. Use the run.py that was exported with the bundle.");
        const ov::Shape fed{1, settings_.channels, settings_.size.height, settings_.size.width};
        if (!model.input().get_partial_shape().compatible(ov::PartialShape(fed)))
            throw Failure(name + ": takes " + model.input().get_partial_shape().to_string() + ", the manifest says " +
                          text_of(fed) + ". Export the bundle again.");
    }

    static std::string text_of(const ov::Shape& shape) { return ov::PartialShape(shape).to_string(); }

    Settings settings_;
    ov::Core core_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
};

// The class of every pixel at the frame's size. values: what `Network::infer` gave.
Image<std::uint8_t> labels_of(const std::vector<float>& values, const Settings& settings, Size size) {
    std::vector<Image<std::uint16_t>> maps;
    const std::size_t pixels = settings.size.height * settings.size.width;
    for (std::size_t c = 0; c < settings.classes; ++c)
        maps.push_back(prob_to_size(values.data() + c * pixels, settings.size, size));
    return labels(maps, settings.threshold);
}

// Labels as they are written: 0 and 255 for one class, else the numbers of the classes.
Image<std::uint8_t> picture(Image<std::uint8_t> classes, const Settings& settings) {
    if (settings.classes == 1)
        for (std::uint8_t& x : classes.samples) x = x != 0 ? 255 : 0;
    return classes;
}

// Mean Dice over the classes of either mask but 0; 1 where both hold nothing else.
double mean_dice(const Image<std::uint8_t>& ours, const Image<std::uint16_t>& theirs) {
    std::map<unsigned, std::size_t> areas, common;
    for (std::size_t n = 0; n < ours.pixels(); ++n) {
        const unsigned a = ours.samples[n], b = theirs.samples[n];
        ++areas[a], ++areas[b];
        if (a == b) ++common[a];
    }
    areas.erase(0);
    double sum = 0;
    for (const auto& [label, area] : areas) sum += 2 * static_cast<double>(common[label]) / static_cast<double>(area);
    return areas.empty() ? 1 : sum / static_cast<double>(areas.size());
}

Exit check(Network& network, const Settings& settings, const std::filesystem::path& folder) {
    const std::string suffix = ".frame.png";
    std::vector<std::string> stems;
    if (std::filesystem::is_directory(folder))
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            const std::string name = entry.path().filename().string();
            if (name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0)
                stems.push_back(name.substr(0, name.size() - suffix.size()));
        }
    if (stems.empty()) throw Failure(folder.string() + ": no golden frames. Copy the bundle again.");
    std::sort(stems.begin(), stems.end());
    double worst = 1;
    std::printf("frame\tmask_dice\tlargest_probability_difference\n");
    for (const std::string& stem : stems) {
        const Frame frame = read_frame(folder / (stem + suffix));
        const Size size{frame.height, frame.width};
        const std::vector<float> values = network.infer(frame);
        const Image<std::uint16_t> found =
            prob_to_size(foreground(values, settings.classes).data(), settings.size, size);
        const Image<std::uint16_t> expected = read_png_samples(folder / (stem + ".probability.png"));
        const Image<std::uint16_t> mask = read_png_samples(folder / (stem + ".mask.png"));
        for (const auto* golden : {&expected, &mask})
            if (golden->height != size.height || golden->width != size.width)
                throw Failure(folder.string() + ": the pictures of frame " + stem +
                              " differ in size. Copy the bundle again.");
        int largest = 0;
        for (std::size_t n = 0; n < expected.pixels(); ++n)
            largest = std::max(largest, std::abs(found.samples[n] - expected.samples[n]));
        const double dice = mean_dice(picture(labels_of(values, settings, size), settings), mask);
        worst = std::min(worst, dice);
        std::printf("%s\t%.5f\t%.6f\n", stem.c_str(), dice, largest / 65535.0);
    }
    const double least = kLeastDice.at(settings.precision);
    if (worst >= least) return kOk;
    std::fflush(stdout);
    std::fprintf(stderr, "error: mask Dice %.5f, wanted at least %g: not the same masks here\n", worst, least);
    return kCheckFailed;
}

Exit segment(Network& network, const Settings& settings, const Options& options, const Frame& frame) {
    const auto start = std::chrono::steady_clock::now();
    const Image<std::uint8_t> classes = labels_of(network.infer(frame), settings, {frame.height, frame.width});
    const std::chrono::duration<double, std::milli> latency_ms = std::chrono::steady_clock::now() - start;
    write_pgm(options.mask, picture(classes, settings));
    const auto area = classes.pixels() - static_cast<std::size_t>(std::count(
                                             classes.samples.begin(), classes.samples.end(), std::uint8_t{0}));
    std::printf("image\tlatency_ms\tarea_px\tarea_percent\n");
    std::printf("%s\t%.1f\t%zu\t%.2f\n", options.frame.filename().c_str(), latency_ms.count(), area,
                100 * static_cast<double>(area) / static_cast<double>(classes.pixels()));
    return kOk;
}

// The folder that this program lies in.
std::filesystem::path own_folder(const char* program) {
    std::error_code failed;
    const std::filesystem::path self = std::filesystem::canonical("/proc/self/exe", failed);
    return (failed ? std::filesystem::absolute(program) : self).parent_path();
}

Options parse(int argc, char** argv) {
    const std::string remedy = ". run --help shows the arguments.";
    Options options;
    options.bundle = own_folder(argv[0]);
    std::vector<std::string> paths;
    for (int n = 1; n < argc; ++n) {
        const std::string word = argv[n];
        const auto value = [&]() -> std::string {
            if (n + 1 >= argc) throw Failure(word + " wants a value after it" + remedy);
            return argv[++n];
        };
        if (word == "--help" || word == "-h") {
            options.help = true;
            return options;
        }
        if (word == "--check") {
            options.check = true;
        } else if (word == "--overwrite") {
            options.overwrite = true;
        } else if (word == "--bundle") {
            options.bundle = value();
        } else if (word == "--threads") {
            const std::string count = value();
            if (count.empty() || count.size() > 4 || count.find_first_not_of("0123456789") != std::string::npos)
                throw Failure("--threads wants a whole number from 0 to 9999, got '" + count + "'" + remedy);
            options.threads = std::stoi(count);
        } else if (word.size() > 1 && word[0] == '-') {
            throw Failure("unknown option " + word + remedy);
        } else {
            paths.push_back(word);
        }
    }
    if (paths.size() != (options.check ? 0 : 2))
        throw Failure("give FRAME and MASK.pgm, or --check alone; got " + std::to_string(paths.size()) + " paths" +
                      remedy);
    if (!options.check) {
        options.frame = paths[0];
        options.mask = paths[1];
        if (std::filesystem::exists(options.mask) && !options.overwrite)
            throw Failure(options.mask.string() + ": exists already; choose another name or give --overwrite");
    }
    return options;
}

Exit run(const Options& options) {
    const Settings settings = open_bundle(options.bundle);
    Frame frame;
    if (!options.check) frame = read_frame(options.frame);
    Network network(settings, options.threads);
    if (options.check) return check(network, settings, options.bundle / "golden");
    try {
        return segment(network, settings, options, frame);
    } catch (const std::invalid_argument& error) {
        throw Failure(options.frame.string() + ": " + error.what());
    }
}

}  // namespace lawder

int main(int argc, char** argv) {
    try {
        const lawder::Options options = lawder::parse(argc, argv);
        if (options.help) {
            std::fputs(lawder::kUsage, stdout);
            return lawder::kOk;
        }
        return lawder::run(options);
    } catch (const lawder::Failure& failure) {
        std::cerr << "error: " << failure.what() << '\n';
        return failure.code;
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return lawder::kBadInput;
    }
}
