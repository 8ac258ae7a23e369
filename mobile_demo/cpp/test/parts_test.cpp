// Geometry, labels, overlay and the joined whole.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "draw.hpp"
#include "manifest_text.hpp"
#include "segproof/error.hpp"
#include "segproof/overlay.hpp"
#include "segproof/resize.hpp"
#include "segproof/segmenter.hpp"

namespace segproof {
namespace {

const Manifest kManifest = parse_manifest(kManifestText, "m");

Picture draw(Size size, int channels, std::uint32_t seed) {
    Picture picture(size, channels);
    picture.bytes = draw_bytes(seed, picture.bytes.size());
    return picture;
}

// Scores of two classes; class 1 wins where its score is greater.
Tensor scores_of(const TensorSpec& output, float (*score)(std::size_t c, std::size_t pixel)) {
    const std::size_t pixels = output.size().area();
    std::vector<float> values(pixels * 3);
    const bool planes = output.layout == Layout::nchw;
    for (std::size_t c = 0; c < 3; ++c) {
        for (std::size_t i = 0; i < pixels; ++i) values[planes ? c * pixels + i : i * 3 + c] = score(c, i);
    }
    return {output.shape, std::move(values)};
}

const Geometry kGeometry = plan_geometry({16, 12}, kManifest.preprocess);

TEST_CASE("regions outside the picture are refused") {
    const Rect wrong[] = {{0, 0, 17, 12}, {-1, 0, 4, 4},         {0, 9, 4, 4},         {0, 0, 0, 1},
                          {8, 8, 9, 1},   {2147483647, 0, 1, 1}, {1, 1, 2147483647, 1}};
    for (const Rect& roi : wrong) CHECK_THROWS_AS(plan_geometry({16, 12}, kManifest.preprocess, roi), Error);
    CHECK(plan_geometry({16, 12}, kManifest.preprocess, Rect{15, 11, 1, 1}).box == Rect{15, 11, 1, 1});
}

TEST_CASE("pictures and priors that do not fit are refused") {
    const Preprocessor preprocessor(kManifest.preprocess);
    CHECK_THROWS_AS(preprocessor(Picture({16, 11}, 3), kGeometry), Error);
    CHECK_THROWS_AS(preprocessor(Picture({16, 12}, 1), kGeometry), Error);
    const Picture prior({8, 6}, 1);
    CHECK_THROWS_AS(preprocessor(Picture({16, 12}, 3), kGeometry, &prior), Error);
}

TEST_CASE("ties go to the lower class, in both layouts") {
    TensorSpec output = kManifest.outputs[0];
    const auto tied = [](std::size_t c, std::size_t pixel) {
        return pixel == 5 && c == 2 ? 2.0F : c == 0 ? 0.5F : 1.0F;
    };
    for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        output.layout = layout;
        if (layout == Layout::nhwc) output.shape = {1, 4, 3, 3};
        const Labels labels = postprocess(kManifest.postprocess, output, scores_of(output, tied), kGeometry);
        CHECK(labels.network.row(0)[0] == 1);
        CHECK(labels.network.row(2)[4] == 2);  // pixel 5 of 4x3 covers rows 2..3, columns 4..5 of 8x6
        CHECK(labels.network.row(3)[5] == 2);
        CHECK(labels.network.row(4)[4] == 1);
        CHECK(labels.source.size == Size{16, 12});
        CHECK(labels.source.row(4)[8] == 2);
    }
}

TEST_CASE("resized scores make the same labels where they are the same everywhere, and smooth edges elsewhere") {
    PostprocessSpec spec = kManifest.postprocess;
    spec.resize_logits = true;
    const TensorSpec& output = kManifest.outputs[0];
    const auto split = [](std::size_t c, std::size_t pixel) {
        return c == 1 ? static_cast<float>(pixel % 3) : c == 0 ? 0.75F : -1.0F;
    };
    const Labels labels = postprocess(spec, output, scores_of(output, split), kGeometry);
    // Columns of scores 0, 1, 2 over twelve pixels: 0.75 is passed at (0.75 + 0.5) * 4 - 0.5 = 4.5.
    for (int x = 0; x < 12; ++x) CHECK(labels.source.row(7)[x] == (x >= 5 ? 1 : 0));
}

TEST_CASE("bilinear scores keep their ends and meet in the middle") {
    const std::vector<float> made = resize_bilinear({0.0F, 1.0F}, {1, 2}, {1, 4});
    CHECK(made == std::vector<float>{0.0F, 0.25F, 0.75F, 1.0F});
}

TEST_CASE("outputs that are not what they should be are refused") {
    const TensorSpec& output = kManifest.outputs[0];
    const auto fine = [](std::size_t, std::size_t) { return 1.0F; };
    Tensor tensor = scores_of(output, fine);
    CHECK_NOTHROW(postprocess(kManifest.postprocess, output, tensor, kGeometry));
    std::get<std::vector<float>>(tensor.values)[7] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_WITH_AS(postprocess(kManifest.postprocess, output, tensor, kGeometry),
                         doctest::Contains("NaN or infinity"), Error);
    tensor = scores_of(output, fine);
    tensor.shape[3] = 2;
    CHECK_THROWS_AS(postprocess(kManifest.postprocess, output, tensor, kGeometry), Error);
    tensor = {output.shape, std::vector<float>(3)};
    CHECK_THROWS_AS(postprocess(kManifest.postprocess, output, tensor, kGeometry), Error);
    TensorSpec labels = output;
    labels.role = Role::labels, labels.layout = Layout::nhw, labels.shape = {1, 8, 6};
    tensor = {labels.shape, std::vector<std::int64_t>(48, 2)};
    CHECK(postprocess(kManifest.postprocess, labels, tensor, kGeometry).source.bytes[0] == 2);
    tensor = {labels.shape, std::vector<std::int64_t>(48, 256)};
    CHECK_THROWS_WITH_AS(postprocess(kManifest.postprocess, labels, tensor, kGeometry), doctest::Contains("256"),
                         Error);
    tensor = {labels.shape, std::vector<float>(48, 1)};
    CHECK_THROWS_AS(postprocess(kManifest.postprocess, labels, tensor, kGeometry), Error);
}

TEST_CASE("the overlay tints classes, leaves background, and draws lines between") {
    const Picture image({6, 6}, 3, 100);
    Picture labels({6, 6}, 1);
    for (int y = 0; y < 6; ++y) {
        for (int x = 3; x < 6; ++x) labels.row(y)[x] = y < 3 ? 1 : 77;
    }
    const Picture drawn = draw_overlay(image, labels, kManifest.labels, 0.5);
    CHECK(drawn.row(1)[0] == 100);
    const std::uint8_t* skin = drawn.row(1) + 5 * 3;
    CHECK(skin[0] == 82);               // between 100 and the palette's blue 64
    CHECK(skin[2] == 178);              // 177.5, to even
    CHECK(drawn.row(5)[5 * 3] == 100);  // a label that is no class
    CHECK(drawn.row(1)[3 * 3 + 1] > 190);
    CHECK_THROWS_AS(draw_overlay(image, Picture({6, 5}, 1), kManifest.labels), Error);
}

// Says what it was fed, and labels everything 2.
class Recorder : public Network {
  public:
    explicit Recorder(std::vector<Tensor>& fed) : fed_(fed) {}

    Tensor run(const Tensor& input) override {
        fed_.push_back(input);
        return scores_of(kManifest.outputs[0], [](std::size_t c, std::size_t) { return static_cast<float>(c); });
    }

  private:
    std::vector<Tensor>& fed_;
};

Manifest with_prior() {
    Manifest manifest = kManifest;
    PreprocessSpec& spec = manifest.preprocess;
    spec.prior_values = {50, 100, 150};
    spec.dtype = DType::uint8, spec.layout = Layout::nhwc, spec.scale = 1;
    spec.mean.assign(4, 0.0), spec.deviation.assign(4, 1.0);
    return manifest;
}

TEST_CASE("a video network is told its last answer until it is reset or the size changes") {
    std::vector<Tensor> fed;
    Segmenter segmenter(with_prior(), std::make_unique<Recorder>(fed));
    const Picture frame = draw({16, 12}, 3, 7);
    const auto prior_fed = [&] { return std::get<std::vector<std::uint8_t>>(fed.back().values).at(3); };
    segmenter.track(frame);
    CHECK(prior_fed() == 0);
    const Prediction second = segmenter.track(frame);
    CHECK(prior_fed() == 150);
    CHECK(second.labels.bytes == std::vector<std::uint8_t>(16 * 12, 2));
    segmenter.predict(frame);
    CHECK(prior_fed() == 0);  // a single picture has no frame before
    segmenter.track(draw({17, 12}, 3, 7));
    CHECK(prior_fed() == 0);
    segmenter.track(draw({17, 12}, 3, 8));
    CHECK(prior_fed() == 150);
    segmenter.reset();
    segmenter.track(draw({17, 12}, 3, 8));
    CHECK(prior_fed() == 0);
}

TEST_CASE("a contract with a CRF is refused") {
    std::vector<Tensor> fed;
    Manifest manifest = kManifest;
    manifest.postprocess.has_crf = true;
    CHECK_THROWS_WITH_AS(Segmenter(manifest, std::make_unique<Recorder>(fed)), doctest::Contains("crf"), Error);
}

}  // namespace
}  // namespace segproof
