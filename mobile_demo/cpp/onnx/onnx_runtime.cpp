#include "onnx_runtime.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "ort_abi.hpp"
#include "segproof/error.hpp"
#include "segproof/segmenter.hpp"

namespace segproof {

// The loaded library and its table of functions.
struct OnnxRuntime::Library {
    void* handle = nullptr;
    const ort::ApiBase* base = nullptr;
    const void* const* api = nullptr;

    Library() = default;
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;
    ~Library() {
        // Never unloaded: its threads and static objects may outlive us.
    }

    template <typename Function>
    Function entry(ort::Entry position) const {
        return reinterpret_cast<Function>(const_cast<void*>(api[position]));
    }

    // Throws when the runtime said what went wrong.
    void check(ort::Status* status, const std::string& where) const {
        if (status == nullptr) return;
        const std::string message = one_line(entry<ort::GetErrorMessage>(ort::kGetErrorMessage)(status));
        entry<ort::Release<ort::Status>>(ort::kReleaseStatus)(status);
        throw Error(where + " (" + message + ")");
    }
};

namespace {

using Library = OnnxRuntime::Library;

// An object of the runtime and the entry that releases it.
template <typename Object, ort::Entry kRelease>
class Handle {
  public:
    explicit Handle(const Library& library) : library_(&library) {}
    Handle(Handle&& other) noexcept : library_(other.library_), object_(std::exchange(other.object_, nullptr)) {}
    Handle& operator=(Handle&&) = delete;
    ~Handle() {
        if (object_ != nullptr) library_->entry<ort::Release<Object>>(kRelease)(object_);
    }
    Object* get() const { return object_; }
    Object** out() { return &object_; }

  private:
    const Library* library_;
    Object* object_ = nullptr;
};

using EnvHandle = Handle<ort::Env, ort::kReleaseEnv>;
using SessionHandle = Handle<ort::Session, ort::kReleaseSession>;
using OptionsHandle = Handle<ort::SessionOptions, ort::kReleaseSessionOptions>;
using MemoryHandle = Handle<ort::MemoryInfo, ort::kReleaseMemoryInfo>;
using ValueHandle = Handle<ort::Value, ort::kReleaseValue>;
using ShapeHandle = Handle<ort::ShapeInfo, ort::kReleaseTensorTypeAndShapeInfo>;
using MetadataHandle = Handle<ort::ModelMetadata, ort::kReleaseModelMetadata>;

float widen_half(std::uint16_t half) {
    const int exponent = (half >> 10U) & 0x1F;
    const auto fraction = static_cast<float>(half & 0x3FFU);
    float value = 0;
    if (exponent == 0x1F) {
        value = fraction == 0 ? INFINITY : NAN;
    } else {
        value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024.0F, exponent - 25);
    }
    return (half & 0x8000U) != 0 ? -value : value;
}

template <typename Value>
std::vector<Value> copy_values(const void* data, std::size_t count) {
    const auto* first = static_cast<const Value*>(data);
    return std::vector<Value>(first, first + count);
}

}  // namespace

struct OnnxModel::State {
    std::shared_ptr<const Library> library;
    std::string where;
    EnvHandle env;
    SessionHandle session;

    State(std::shared_ptr<const Library> library_, std::string where_)
        : library(std::move(library_)), where(std::move(where_)), env(*library), session(*library) {}

    void check(ort::Status* status, const char* what) const { library->check(status, where + ": " + what); }

    ort::Allocator* allocator() const {
        ort::Allocator* found = nullptr;
        check(library->entry<ort::GetAllocator>(ort::kGetAllocatorWithDefaultOptions)(&found), "cannot allocate");
        return found;
    }

    // Takes over text that the runtime allocated.
    std::string take(char* text) const {
        std::string copy = text;
        check(library->entry<ort::AllocatorFree>(ort::kAllocatorFree)(allocator(), text), "cannot free");
        return copy;
    }

    std::vector<std::string> names(ort::Entry count_of, ort::Entry name_of) const {
        std::size_t count = 0;
        check(library->entry<ort::GetCount>(count_of)(session.get(), &count), "cannot be inspected");
        std::vector<std::string> found;
        for (std::size_t i = 0; i < count; ++i) {
            char* text = nullptr;
            check(library->entry<ort::GetName>(name_of)(session.get(), i, allocator(), &text), "cannot be inspected");
            found.push_back(take(text));
        }
        return found;
    }
};

namespace {

class OnnxNetwork : public Network {
  public:
    OnnxNetwork(std::unique_ptr<OnnxModel::State> state, TensorSpec input, TensorSpec output)
        : state_(std::move(state)), input_(std::move(input)), output_(std::move(output)), memory_(*state_->library) {
        const Library& library = *state_->library;
        state_->check(library.entry<ort::CreateMemoryInfo>(ort::kCreateCpuMemoryInfo)(
                          ort::kArenaAllocator, ort::kMemoryDefault, memory_.out()),
                      "cannot be fed");
    }

    Tensor run(const Tensor& input) override {
        const Library& library = *state_->library;
        ValueHandle fed = wrap(input);
        ValueHandle answer(library);
        const char* const input_names[] = {input_.name.c_str()};
        const char* const output_names[] = {output_.name.c_str()};
        const ort::Value* const feeds[] = {fed.get()};
        state_->check(library.entry<ort::Run>(ort::kRun)(state_->session.get(), nullptr, input_names, feeds, 1,
                                                         output_names, 1, answer.out()),
                      "the network failed while running");
        return copy(answer);
    }

  private:
    // The runtime reads the tensor's own memory and does not write it.
    ValueHandle wrap(const Tensor& input) const {
        const Library& library = *state_->library;
        ValueHandle value(library);
        const auto create = library.entry<ort::CreateTensor>(ort::kCreateTensorWithDataAsOrtValue);
        const auto make = [&](const auto& values, int element) {
            void* data = const_cast<void*>(static_cast<const void*>(values.data()));
            state_->check(create(memory_.get(), data, values.size() * sizeof(values[0]), input.shape.data(),
                                 input.shape.size(), element, value.out()),
                          "cannot be fed");
        };
        if (const auto* floats = std::get_if<std::vector<float>>(&input.values)) {
            make(*floats, ort::kElementFloat);
        } else if (const auto* bytes = std::get_if<std::vector<std::uint8_t>>(&input.values)) {
            make(*bytes, ort::kElementUint8);
        } else {
            throw Error(state_->where + ": takes float32 or uint8");
        }
        return value;
    }

    Tensor copy(const ValueHandle& value) const {
        const Library& library = *state_->library;
        int is_tensor = 0;
        state_->check(library.entry<ort::IsTensor>(ort::kIsTensor)(value.get(), &is_tensor), "gave no tensor");
        if (is_tensor == 0) throw Error(state_->where + ": output '" + output_.name + "' is no tensor");
        ShapeHandle shape(library);
        state_->check(library.entry<ort::GetShape>(ort::kGetTensorTypeAndShape)(value.get(), shape.out()),
                      "gave no shape");
        std::size_t rank = 0;
        std::size_t count = 0;
        int element = 0;
        Tensor tensor;
        state_->check(library.entry<ort::GetShapeCount>(ort::kGetDimensionsCount)(shape.get(), &rank), "gave no shape");
        tensor.shape.resize(rank);
        state_->check(library.entry<ort::GetDimensions>(ort::kGetDimensions)(shape.get(), tensor.shape.data(), rank),
                      "gave no shape");
        state_->check(library.entry<ort::GetShapeCount>(ort::kGetTensorShapeElementCount)(shape.get(), &count),
                      "gave no shape");
        state_->check(library.entry<ort::GetElementType>(ort::kGetTensorElementType)(shape.get(), &element),
                      "gave no type");
        void* data = nullptr;
        state_->check(library.entry<ort::GetData>(ort::kGetTensorMutableData)(value.get(), &data), "gave no values");
        fill(tensor, data, count, element);
        return tensor;
    }

    void fill(Tensor& tensor, const void* data, std::size_t count, int element) const {
        switch (element) {
            case ort::kElementFloat:
                tensor.values = copy_values<float>(data, count);
                return;
            case ort::kElementUint8:
                tensor.values = copy_values<std::uint8_t>(data, count);
                return;
            case ort::kElementInt32:
                tensor.values = copy_values<std::int32_t>(data, count);
                return;
            case ort::kElementInt64:
                tensor.values = copy_values<std::int64_t>(data, count);
                return;
            case ort::kElementFloat16: {
                const std::vector<std::uint16_t> halves = copy_values<std::uint16_t>(data, count);
                std::vector<float> floats(count);
                std::transform(halves.begin(), halves.end(), floats.begin(), widen_half);
                tensor.values = std::move(floats);
                return;
            }
            default:
                throw Error(state_->where + ": output '" + output_.name + "' has the element type " +
                            std::to_string(element) + " of ONNX, which is not read here");
        }
    }

    std::unique_ptr<OnnxModel::State> state_;
    TensorSpec input_;
    TensorSpec output_;
    MemoryHandle memory_;
};

void require_name(const std::string& where, const char* what, const std::vector<std::string>& found,
                  const std::string& wanted) {
    if (std::find(found.begin(), found.end(), wanted) != found.end()) return;
    throw Error(where + ": has no " + what + " '" + one_line(wanted, 60) +
                "', which its manifest names; export it again");
}

}  // namespace

OnnxRuntime::OnnxRuntime(const std::string& path) {
    auto library = std::make_shared<Library>();
    const std::vector<std::string> names =
        path.empty() ? std::vector<std::string>{"libonnxruntime.so.1", "libonnxruntime.so"} : std::vector{path};
    for (const std::string& name : names) {
        library->handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library->handle != nullptr) break;
    }
    if (library->handle == nullptr) {
        const char* reason = dlerror();
        throw Error("ONNX Runtime: cannot be loaded (" + one_line(reason == nullptr ? "no reason given" : reason) +
                    "); name the library with --ort or SEGPROOF_ORT");
    }
    using GetBase = const ort::ApiBase* (*)();
    const auto get_base = reinterpret_cast<GetBase>(dlsym(library->handle, "OrtGetApiBase"));
    library->base = get_base == nullptr ? nullptr : get_base();
    library->api = library->base == nullptr ? nullptr : library->base->get_api(ort::kApiVersion);
    if (library->api == nullptr) throw Error("ONNX Runtime: " + path + " is a library without its C interface");
    library_ = std::move(library);
}

OnnxRuntime::~OnnxRuntime() = default;

std::string OnnxRuntime::version() const {
    return library_->base->get_version();
}

OnnxModel::OnnxModel(const OnnxRuntime& runtime, const std::vector<std::uint8_t>& bytes, std::string where, int threads)
    : state_(std::make_unique<State>(runtime.library(), std::move(where))) {
    const Library& library = *state_->library;
    state_->check(library.entry<ort::CreateEnv>(ort::kCreateEnv)(ort::kLoggingFatal, "segproof", state_->env.out()),
                  "the runtime does not start");
    OptionsHandle options(library);
    state_->check(library.entry<ort::CreateSessionOptions>(ort::kCreateSessionOptions)(options.out()), "no options");
    state_->check(library.entry<ort::SetThreads>(ort::kSetIntraOpNumThreads)(options.get(), threads), "threads");
    state_->check(library.entry<ort::SetThreads>(ort::kSetInterOpNumThreads)(options.get(), 1), "threads");
    state_->check(library.entry<ort::CreateSessionFromArray>(ort::kCreateSessionFromArray)(
                      state_->env.get(), bytes.data(), bytes.size(), options.get(), state_->session.out()),
                  "not a readable ONNX file; copy or export it again");
}

OnnxModel::~OnnxModel() = default;
OnnxModel::OnnxModel(OnnxModel&&) noexcept = default;

std::optional<std::string> OnnxModel::embedded_manifest() const {
    const Library& library = *state_->library;
    MetadataHandle metadata(library);
    state_->check(library.entry<ort::GetMetadata>(ort::kSessionGetModelMetadata)(state_->session.get(), metadata.out()),
                  "has no metadata");
    char* text = nullptr;
    state_->check(library.entry<ort::LookUp>(ort::kModelMetadataLookupCustomMetadataMap)(
                      metadata.get(), state_->allocator(), "segproof.manifest", &text),
                  "has no metadata");
    if (text == nullptr) return std::nullopt;
    return state_->take(text);
}

std::unique_ptr<Network> OnnxModel::open(const Manifest& manifest) && {
    const TensorSpec& input = manifest.inputs.front();
    const TensorSpec& output = label_output(manifest);
    const auto inputs = state_->names(ort::kSessionGetInputCount, ort::kSessionGetInputName);
    const auto outputs = state_->names(ort::kSessionGetOutputCount, ort::kSessionGetOutputName);
    require_name(state_->where, "input", inputs, input.name);
    require_name(state_->where, "output", outputs, output.name);
    return std::make_unique<OnnxNetwork>(std::move(state_), input, output);
}

}  // namespace segproof
