// Shows the tests what the headers of the OpenVINO bundle's run.cpp do, without OpenVINO.
//
//     probe taps SOURCE TARGET ...       a line an output sample: first input, then weights; "error: ..." for a pair
//     probe resize H W C HEIGHT WIDTH BITS < samples > samples
//     probe frame FILE ...               a line each: height, width, channels, sha256 of the samples; or "error: ..."
//     probe sha256 FILE ...              a line each
//     probe bundle DIR ...               a line each: "whole", or "error: ..."
#include <cstdint>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "pictures.hpp"
#include "processing.hpp"

using namespace lawder;

namespace {

template <class Sample>
void resize_stdin(const std::vector<std::size_t>& n) {
    const std::string data{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
    Image<Sample> image{n[0], n[1], n[2], std::vector<Sample>(data.size() / sizeof(Sample))};
    std::memcpy(image.samples.data(), data.data(), data.size());
    const Image<Sample> made = resize(image, {n[3], n[4]});
    std::cout.write(reinterpret_cast<const char*>(made.samples.data()),
                    static_cast<std::streamsize>(made.samples.size() * sizeof(Sample)));
}

void show_taps(std::size_t source, std::size_t target) {
    const Taps taps = make_taps(source, target);
    for (std::size_t i = 0; i < target; ++i) {
        std::cout << taps.first[i];
        for (std::size_t t = 0; t < taps.count[i]; ++t) std::cout << ' ' << taps.weights[i * taps.stride + t];
        std::cout << '\n';
    }
}

void show_frame(const std::string& path) {
    const Frame frame = read_frame(path);
    const std::string bytes(frame.samples.begin(), frame.samples.end());
    std::cout << frame.height << ' ' << frame.width << ' ' << frame.channels << ' ' << sha256(bytes) << '\n';
}

void told(const std::function<void()>& show) {
    try {
        show();
    } catch (const std::exception& error) {
        std::cout << "error: " << error.what() << '\n';
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::string verb = argv[1];
    const std::vector<std::string> words(argv + 2, argv + argc);
    if (verb == "resize") {
        std::vector<std::size_t> n;
        for (const std::string& word : words) n.push_back(std::stoul(word));
        n.at(5) == 8 ? resize_stdin<std::uint8_t>(n) : resize_stdin<std::uint16_t>(n);
    } else if (verb == "taps") {
        for (std::size_t k = 0; k + 1 < words.size(); k += 2)
            told([&] { show_taps(std::stoul(words[k]), std::stoul(words[k + 1])); });
    } else {
        for (const std::string& word : words) told([&] {
            if (verb == "frame") show_frame(word);
            if (verb == "sha256") std::cout << sha256(read_file(word)) << '\n';
            if (verb == "bundle") open_bundle(word), std::cout << "whole\n";
        });
    }
    return 0;
}
