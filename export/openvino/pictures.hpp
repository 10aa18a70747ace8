// Pictures on disk: PNM and PNG in, PGM out.
#pragma once

#include <png.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "processing.hpp"

namespace lawder {

// What Pillow takes for a decompression bomb, in pixels.
constexpr std::uint64_t kMostPixels = 178'956'970;

inline Failure unreadable(const std::filesystem::path& path, const std::string& why) {
    return Failure(path.string() + ": not an image that can be read (" + why + ")");
}

// libpng reports by longjmp, so each call that may fail stands in a function without objects to destroy, and what it
// fills belongs to the caller.
class PngFile {
public:
    explicit PngFile(const std::filesystem::path& path) : path_(path), file_(std::fopen(path.c_str(), "rb")) {
        if (file_ == nullptr) throw unreadable(path, std::strerror(errno));
        png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, ignore);
        info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    }
    PngFile(const PngFile&) = delete;
    PngFile& operator=(const PngFile&) = delete;
    ~PngFile() {
        png_destroy_read_struct(&png_, &info_, nullptr);
        std::fclose(file_);
    }

    // Samples of 8 bits or, with `wide`, as stored: 1 or 2 bytes each, high byte first. Channels: grey, grey and alpha,
    // RGB, or RGBA.
    Image<std::uint8_t> read(bool wide, std::size_t& bytes_a_sample) {
        if (info_ == nullptr) throw unreadable(path_, "libpng has no memory, or is another release than its headers");
        if (!read_header(wide)) throw unreadable(path_, message_);
        Image<std::uint8_t> image;
        image.height = png_get_image_height(png_, info_);
        image.width = png_get_image_width(png_, info_);
        image.channels = png_get_channels(png_, info_);
        bytes_a_sample = png_get_bit_depth(png_, info_) / 8;
        if (static_cast<std::uint64_t>(image.height) * image.width > kMostPixels)
            throw unreadable(path_, "more than " + std::to_string(kMostPixels) + " pixels");
        const std::size_t row_bytes = png_get_rowbytes(png_, info_);
        image.samples.resize(image.height * row_bytes);
        std::vector<png_bytep> rows;
        for (std::size_t y = 0; y < image.height; ++y) rows.push_back(image.samples.data() + y * row_bytes);
        if (!read_rows(rows.data())) throw unreadable(path_, message_);
        return image;
    }

    // run.py turns such photos upright.
    bool has_exif() const { return png_get_valid(png_, info_, PNG_INFO_eXIf) != 0; }

private:
    bool read_header(bool wide) {
        if (setjmp(png_jmpbuf(png_))) return false;
        png_init_io(png_, file_);
        png_read_info(png_, info_);
        png_set_expand(png_);
        if (!wide) png_set_strip_16(png_);
        png_set_interlace_handling(png_);
        png_read_update_info(png_, info_);
        return true;
    }

    bool read_rows(png_bytepp rows) {
        if (setjmp(png_jmpbuf(png_))) return false;
        png_read_image(png_, rows);
        png_read_end(png_, info_);
        return true;
    }

    static void fail(png_structp png, png_const_charp message) {
        auto* self = static_cast<PngFile*>(png_get_error_ptr(png));
        std::snprintf(self->message_, sizeof self->message_, "%s", message);
        png_longjmp(png, 1);
    }

    static void ignore(png_structp, png_const_charp) {}

    std::filesystem::path path_;
    std::FILE* file_;
    png_structp png_ = nullptr;
    png_infop info_ = nullptr;
    char message_[128] = "";
};

// A frame from a PNG, as run.py reads it: 16-bit samples keep their high byte, transparency is put on black.
inline Frame read_png_frame(const std::filesystem::path& path) {
    PngFile file(path);
    std::size_t bytes = 0;
    const Frame stored = file.read(false, bytes);
    if (file.has_exif())
        throw Failure(path.string() +
                      ": holds EXIF data, which may say that it is stored turned. Save it upright and without: "
                      "convert IN.png -auto-orient -strip OUT.png");
    const std::size_t colours = stored.channels < 3 ? 1 : 3;
    if (stored.channels == colours) return stored;
    Frame frame{stored.height, stored.width, colours, {}};
    frame.samples.reserve(frame.pixels() * colours);
    for (std::size_t n = 0; n < frame.pixels(); ++n) {
        const std::uint8_t* pixel = stored.samples.data() + n * stored.channels;
        for (std::size_t c = 0; c < colours; ++c)
            frame.samples.push_back(static_cast<std::uint8_t>((pixel[c] * pixel[colours] + 127) / 255));
    }
    return frame;
}

// A grey PNG of 8 or 16 bits as its own samples.
inline Image<std::uint16_t> read_png_samples(const std::filesystem::path& path) {
    std::size_t bytes = 0;
    const Image<std::uint8_t> stored = PngFile(path).read(true, bytes);
    if (stored.channels != 1) throw unreadable(path, "wanted a grey picture");
    Image<std::uint16_t> made{stored.height, stored.width, 1, {}};
    made.samples.reserve(made.pixels());
    for (std::size_t n = 0; n < made.pixels(); ++n) {
        const std::uint8_t* sample = stored.samples.data() + n * bytes;
        made.samples.push_back(static_cast<std::uint16_t>(bytes == 1 ? sample[0] : sample[0] << 8 | sample[1]));
    }
    return made;
}

// A binary PPM (P6) or PGM (P5) of 8 bits, one picture in the file. data: the whole file.
inline Frame parse_pnm(const std::filesystem::path& path, const std::string& data) {
    std::size_t at = 2;
    const auto number = [&]() -> std::size_t {
        const auto is_space = [&] { return std::string(" \t\r\n\v\f").find(data[at]) != std::string::npos; };
        while (at < data.size() && (is_space() || data[at] == '#')) {
            if (data[at] == '#')
                while (at < data.size() && data[at] != '\n') ++at;
            else
                ++at;
        }
        std::size_t value = 0, digits = 0;
        for (; at < data.size() && data[at] >= '0' && data[at] <= '9' && digits < 9; ++at, ++digits)
            value = value * 10 + static_cast<std::size_t>(data[at] - '0');
        if (digits == 0 || at >= data.size() || !is_space()) throw unreadable(path, "its PNM header is broken");
        return value;
    };
    Frame frame;
    frame.width = number();
    frame.height = number();
    const std::size_t most = number();
    ++at;
    frame.channels = data[1] == '6' ? 3 : 1;
    if (frame.width == 0 || frame.height == 0) throw unreadable(path, "it has no pixels");
    if (most != 255)
        throw unreadable(path, "samples up to " + std::to_string(most) + "; wanted 8 bits, up to 255: ffmpeg -i IN "
                               "-pix_fmt rgb24 OUT.ppm");
    const std::uint64_t wanted = static_cast<std::uint64_t>(frame.width) * frame.height * frame.channels;
    if (data.size() - at != wanted)
        throw unreadable(path, std::to_string(frame.width) + " x " + std::to_string(frame.height) + " pixels take " +
                                   std::to_string(wanted) + " bytes, got " + std::to_string(data.size() - at));
    frame.samples.assign(data.begin() + static_cast<std::ptrdiff_t>(at), data.end());
    return frame;
}

// A frame from a PPM, PGM or PNG, told by its first bytes.
inline Frame read_frame(const std::filesystem::path& path) {
    const std::string data = read_file(path);
    if (data.compare(0, 4, "\x89PNG") == 0) return read_png_frame(path);
    if (data.size() > 2 && data[0] == 'P' && (data[1] == '5' || data[1] == '6')) return parse_pnm(path, data);
    throw unreadable(path, "wanted binary PPM, PGM or PNG: ffmpeg -i IN OUT.ppm, or convert IN OUT.ppm");
}

// (H, W) as binary PGM, under a temporary name until it is whole.
inline void write_pgm(const std::filesystem::path& path, const Image<std::uint8_t>& picture) {
    std::filesystem::path temporary = path;
    temporary.replace_filename("." + path.filename().string() + "." + std::to_string(getpid()));
    std::ofstream file(temporary, std::ios::binary);
    file << "P5\n" << picture.width << ' ' << picture.height << "\n255\n";
    file.write(reinterpret_cast<const char*>(picture.samples.data()),
               static_cast<std::streamsize>(picture.samples.size()));
    file.close();
    std::error_code ignored, failed;
    if (file) std::filesystem::rename(temporary, path, failed);
    if (!file || failed) {
        std::filesystem::remove(temporary, ignored);
        throw Failure(path.string() + ": cannot be written. Check that its folder exists and has room.");
    }
}

}  // namespace lawder
