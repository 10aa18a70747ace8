// The bundle's manifest: a strict JSON reader, SHA-256, and what of the manifest a prediction needs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "processing.hpp"

namespace lawder {

enum Exit { kOk = 0, kBadInput = 2, kCheckFailed = 3, kRuntimeMissing = 4 };

// A message for the user, and the exit code that goes with it.
struct Failure : std::runtime_error {
    explicit Failure(const std::string& message, Exit exit_code = kBadInput)
        : std::runtime_error(message), code(exit_code) {}
    Exit code;
};

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file || std::filesystem::is_directory(path)) throw Failure(path.string() + ": no such file, or not readable");
    std::string data{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (file.bad()) throw Failure(path.string() + ": cannot be read to its end");
    return data;
}

// FIPS 180-4, as 64 hexadecimal digits.
inline std::string sha256(const std::string& data) {
    static constexpr std::array<std::uint32_t, 64> kRounds = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    std::array<std::uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::string padded = data;
    padded.push_back('\x80');
    while (padded.size() % 64 != 56) padded.push_back('\0');
    for (int shift = 56; shift >= 0; shift -= 8)
        padded.push_back(static_cast<char>((static_cast<std::uint64_t>(data.size()) * 8 >> shift) & 0xff));
    const auto turn = [](std::uint32_t x, int n) { return x >> n | x << (32 - n); };
    for (std::size_t block = 0; block < padded.size(); block += 64) {
        std::array<std::uint32_t, 64> w{};
        for (std::size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | static_cast<unsigned char>(padded[block + i]);
        for (std::size_t i = 16; i < 64; ++i)
            w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
                   (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
        auto [a, b, c, d, e, f, g, h] = state;
        for (std::size_t i = 0; i < 64; ++i) {
            const std::uint32_t first =
                h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + kRounds[i] + w[i];
            const std::uint32_t second = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
        }
        const std::array<std::uint32_t, 8> added = {a, b, c, d, e, f, g, h};
        for (std::size_t i = 0; i < 8; ++i) state[i] += added[i];
    }
    std::string text;
    for (const std::uint32_t word : state)
        for (int shift = 28; shift >= 0; shift -= 4) text.push_back("0123456789abcdef"[word >> shift & 0xf]);
    return text;
}

// One JSON value. text: of strings, and of numbers as they stand. items: of arrays; members: of objects, in order.
struct Json {
    enum class Kind { null, boolean, number, string, array, object };

    Kind kind = Kind::null;
    std::string text;
    std::vector<Json> items;
    std::vector<std::pair<std::string, Json>> members;
};

// RFC 8259, and no name twice in one object. Throws std::invalid_argument with the byte where reading ended.
class JsonReader {
public:
    explicit JsonReader(const std::string& text) : text_(text) {}

    Json read() {
        Json value = read_value(0);
        skip_space();
        if (at_ != text_.size()) fail("something after the end");
        return value;
    }

private:
    // A manifest is 3 deep; a limit keeps a file of brackets from using up the stack.
    static constexpr int kDeepest = 32;

    [[noreturn]] void fail(const std::string& what) const {
        throw std::invalid_argument("not valid JSON: " + what + " at byte " + std::to_string(at_));
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    bool take(char sign) {
        if (at_ >= text_.size() || text_[at_] != sign) return false;
        ++at_;
        return true;
    }

    void skip_space() {
        while (take(' ') || take('\t') || take('\n') || take('\r')) {
        }
    }

    bool take_word(const std::string& word) {
        if (text_.compare(at_, word.size(), word) != 0) return false;
        at_ += word.size();
        return true;
    }

    Json read_value(int depth) {
        if (depth > kDeepest) fail("nested too deep");
        skip_space();
        Json value;
        if (take('{')) {
            value.kind = Json::Kind::object;
            read_list('}', [&] {
                std::string name = read_string();
                for (const auto& member : value.members)
                    if (member.first == name) fail("'" + name + "' for the second time");
                skip_space();
                if (!take(':')) fail("no ':'");
                value.members.emplace_back(std::move(name), read_value(depth + 1));
            });
        } else if (take('[')) {
            value.kind = Json::Kind::array;
            read_list(']', [&] { value.items.push_back(read_value(depth + 1)); });
        } else if (peek() == '"') {
            value.kind = Json::Kind::string;
            value.text = read_string();
        } else if (take_word("true")) {
            value.kind = Json::Kind::boolean;
            value.text = "true";
        } else if (take_word("false")) {
            value.kind = Json::Kind::boolean;
            value.text = "false";
        } else if (!take_word("null")) {
            value.kind = Json::Kind::number;
            value.text = read_number();
        }
        return value;
    }

    template <class ReadItem>
    void read_list(char end, ReadItem read_item) {
        skip_space();
        if (take(end)) return;
        do {
            skip_space();
            read_item();
            skip_space();
        } while (take(','));
        if (!take(end)) fail(std::string("no ',' and no '") + end + "'");
    }

    std::string read_string() {
        if (!take('"')) fail("no '\"'");
        std::string made;
        while (!take('"')) {
            if (at_ >= text_.size()) fail("a string without end");
            const char sign = text_[at_];
            if (static_cast<unsigned char>(sign) < 0x20) fail("a control character in a string");
            ++at_;
            if (sign != '\\') {
                made.push_back(sign);
                continue;
            }
            static const std::string kEscapes = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
            const std::size_t n = kEscapes.find(peek());
            if (at_ < text_.size() && n != std::string::npos) {
                ++at_;
                made.push_back(kMeant[n]);
            } else if (take('u')) {
                append_utf8(made, read_escaped());
            } else {
                fail("an unknown escape");
            }
        }
        return made;
    }

    std::uint32_t read_escaped() {
        const std::uint32_t first = read_hex();
        if (first < 0xd800 || first > 0xdfff) return first;
        if (first > 0xdbff || !take_word("\\u")) fail("half a surrogate pair");
        const std::uint32_t second = read_hex();
        if (second < 0xdc00 || second > 0xdfff) fail("half a surrogate pair");
        return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    }

    std::uint32_t read_hex() {
        std::uint32_t value = 0;
        for (int n = 0; n < 4; ++n) {
            const std::size_t digit = std::string("0123456789abcdef0123456789ABCDEF").find(peek());
            if (at_ >= text_.size() || digit == std::string::npos) fail("no four hexadecimal digits");
            value = value << 4 | static_cast<std::uint32_t>(digit % 16);
            ++at_;
        }
        return value;
    }

    static void append_utf8(std::string& made, std::uint32_t code) {
        const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        static constexpr std::uint32_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
        made.push_back(static_cast<char>(kLead[more] | code >> (6 * more)));
        for (int shift = 6 * (more - 1); shift >= 0; shift -= 6)
            made.push_back(static_cast<char>(0x80 | (code >> shift & 0x3f)));
    }

    void take_digits() {
        const std::size_t start = at_;
        while (peek() >= '0' && peek() <= '9') ++at_;
        if (at_ == start) fail("no value");
    }

    std::string read_number() {
        const std::size_t start = at_;
        take('-');
        if (!take('0')) take_digits();
        if (take('.')) take_digits();
        if (take('e') || take('E')) {
            if (!take('+')) take('-');
            take_digits();
        }
        return text_.substr(start, at_ - start);
    }

    const std::string& text_;
    std::size_t at_ = 0;
};

// What of the manifest a prediction needs. kind: "logits" or "probabilities". classes: 1, or with the background.
// precision: "fp32", "fp16" or "int8".
struct Settings {
    std::filesystem::path model;
    Size size;
    std::size_t channels = 0, classes = 0;
    double threshold = 0;
    std::string kind, precision;
};

// One object of the manifest; each look-up names the key that is missing or holds what cannot stand.
class Record {
public:
    Record(const Json& value, std::string prefix) : value_(value), prefix_(std::move(prefix)) {
        if (value.kind != Json::Kind::object) wrong("", "an object");
    }

    const Json& at(const std::string& key) const {
        for (const auto& member : value_.members)
            if (member.first == key) return member.second;
        throw Failure("manifest.json: key '" + prefix_ + key + "' is missing. Copy the bundle again.");
    }

    const std::string& text(const std::string& key) const {
        const Json& value = at(key);
        if (value.kind != Json::Kind::string) wrong(key, "text");
        return value.text;
    }

    std::string one_of(const std::string& key, const std::vector<std::string>& known) const {
        const std::string& got = text(key);
        std::string list;
        for (const std::string& item : known) {
            if (item == got) return got;
            list += (list.empty() ? "'" : ", '") + item + "'";
        }
        throw Failure("manifest.json: key '" + prefix_ + key + "' is '" + got + "', this run.cpp knows " + list +
                      ". Use the run.py that was exported with the bundle.");
    }

    std::size_t whole(const std::string& key, std::size_t least, std::size_t most) const {
        const Json& value = at(key);
        const std::string wanted = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
        const bool plain = value.kind == Json::Kind::number && value.text.size() <= 9 &&
                           value.text.find_first_not_of("0123456789") == std::string::npos;
        const std::size_t number = plain ? std::stoul(value.text) : 0;
        if (!plain || number < least || number > most) wrong(key, wanted);
        return number;
    }

    double number(const std::string& key) const {
        const Json& value = at(key);
        if (value.kind != Json::Kind::number) wrong(key, "a number");
        std::istringstream stream(value.text);
        stream.imbue(std::locale::classic());
        double made = 0;
        stream >> made;
        return made;
    }

    [[noreturn]] void wrong(const std::string& key, const std::string& wanted) const {
        throw Failure("manifest.json: key '" + prefix_ + key + "' wants " + wanted + ". Copy the bundle again.");
    }

private:
    const Json& value_;
    std::string prefix_;
};

// Whether a name is a plain path below the folder that it is relative to, on every system.
inline bool is_inside(const std::string& name) {
    if (name.empty() || name.find_first_of(std::string("\\:\0", 3)) != std::string::npos) return false;
    std::stringstream parts(name + "/");
    std::string part;
    while (std::getline(parts, part, '/'))
        if (part.empty() || part == "." || part == "..") return false;
    return true;
}

// Read the manifest and compare every file with it. Throws Failure naming the key or the file.
inline Settings open_bundle(const std::filesystem::path& folder) {
    if (!std::filesystem::is_regular_file(folder / "manifest.json"))
        throw Failure(folder.string() +
                      ": no manifest.json in this folder; wanted a bundle. Compile run.cpp into its bundle, or name "
                      "the bundle with --bundle DIR.");
    const std::string text = read_file(folder / "manifest.json");
    Json root;
    try {
        root = JsonReader(text).read();
    } catch (const std::invalid_argument& error) {
        throw Failure("manifest.json: " + std::string(error.what()) + ". Copy the bundle again.");
    }
    const Record manifest(root, "");
    if (manifest.whole("schema_version", 0, 999'999'999) != 2)
        throw Failure("manifest.json: has schema_version " + manifest.at("schema_version").text +
                      ", this run.cpp reads 2. Use the run.cpp that was exported with the bundle.");
    const std::string& model_file = manifest.text("model_file");
    if (manifest.at("files").kind != Json::Kind::array) manifest.wrong("files", "a list");
    bool listed = false;
    for (const Json& item : manifest.at("files").items) {
        const Record entry(item, "files[].");
        const std::string& name = entry.text("name");
        if (!is_inside(name))
            throw Failure("manifest.json: lists '" + name + "', which is no name inside the bundle. Copy it again.");
        listed = listed || name == model_file;
        if (!std::filesystem::is_regular_file(folder / name))
            throw Failure(name + ": missing; the manifest lists it. Copy the bundle again.");
        const std::string got = sha256(read_file(folder / name));
        if (got != entry.text("sha256"))
            throw Failure(name + ": changed since the export: expected sha256 " + entry.text("sha256") + ", got " +
                          got + ". Copy the bundle again.");
    }
    if (!listed)
        throw Failure("manifest.json: does not list '" + model_file + "', so it is not used. Copy the bundle again.");

    const Record input(manifest.at("input"), "input."), output(manifest.at("output"), "output.");
    input.one_of("layout", {"NCHW"});
    input.one_of("range", {"(rgb-128)/128"});
    input.one_of("dtype", {"float32"});
    output.one_of("dtype", {"float32"});
    input.one_of("resize_rule", {"triangle-q14"});
    input.whole("resize_version", 1, 1);
    Settings settings;
    settings.model = folder / model_file;
    settings.size = {input.whole("height", 1, 65535), input.whole("width", 1, 65535)};
    settings.channels = input.whole("channels", 1, 3);
    if (settings.channels == 2) input.wrong("channels", "1 or 3");
    settings.kind = output.one_of("kind", {"logits", "probabilities"});
    settings.classes = output.whole("classes", 1, 256);
    settings.threshold = manifest.number("threshold");
    if (!(settings.threshold > 0 && settings.threshold < 1)) manifest.wrong("threshold", "a number between 0 and 1");
    settings.precision = manifest.one_of("precision", {"fp32", "fp16", "int8"});
    return settings;
}

}  // namespace lawder
