// Our declarations of ONNX Runtime's table against its real header; the compiler does the comparing.
#include <doctest/doctest.h>
#include <onnxruntime_c_api.h>

#include "ort_abi.hpp"

namespace segproof::ort {

#define SEGPROOF_AT(name) static_assert(offsetof(OrtApi, name) == k##name * sizeof(void*), #name)
SEGPROOF_AT(GetErrorMessage);
SEGPROOF_AT(CreateEnv);
SEGPROOF_AT(CreateSessionFromArray);
SEGPROOF_AT(Run);
SEGPROOF_AT(CreateSessionOptions);
SEGPROOF_AT(SetIntraOpNumThreads);
SEGPROOF_AT(SetInterOpNumThreads);
SEGPROOF_AT(SessionGetInputCount);
SEGPROOF_AT(SessionGetOutputCount);
SEGPROOF_AT(SessionGetInputName);
SEGPROOF_AT(SessionGetOutputName);
SEGPROOF_AT(CreateTensorWithDataAsOrtValue);
SEGPROOF_AT(IsTensor);
SEGPROOF_AT(GetTensorMutableData);
SEGPROOF_AT(GetTensorElementType);
SEGPROOF_AT(GetDimensionsCount);
SEGPROOF_AT(GetDimensions);
SEGPROOF_AT(GetTensorShapeElementCount);
SEGPROOF_AT(GetTensorTypeAndShape);
SEGPROOF_AT(CreateCpuMemoryInfo);
SEGPROOF_AT(AllocatorFree);
SEGPROOF_AT(GetAllocatorWithDefaultOptions);
SEGPROOF_AT(ReleaseEnv);
SEGPROOF_AT(ReleaseStatus);
SEGPROOF_AT(ReleaseMemoryInfo);
SEGPROOF_AT(ReleaseSession);
SEGPROOF_AT(ReleaseValue);
SEGPROOF_AT(ReleaseTensorTypeAndShapeInfo);
SEGPROOF_AT(ReleaseSessionOptions);
SEGPROOF_AT(SessionGetModelMetadata);
SEGPROOF_AT(ModelMetadataLookupCustomMetadataMap);
SEGPROOF_AT(ReleaseModelMetadata);
#undef SEGPROOF_AT

static_assert(kReleaseModelMetadata + 1 == kApiEntries, "the last entry of version 2");
static_assert(offsetof(OrtApiBase, GetApi) == offsetof(ApiBase, get_api), "GetApi");
static_assert(offsetof(OrtApiBase, GetVersionString) == offsetof(ApiBase, get_version), "GetVersionString");
static_assert(sizeof(OrtLoggingLevel) == sizeof(int) && sizeof(ONNXTensorElementDataType) == sizeof(int), "enums");
static_assert(sizeof(OrtAllocatorType) == sizeof(int) && sizeof(OrtMemType) == sizeof(int), "enums");
static_assert(ORT_LOGGING_LEVEL_FATAL == kLoggingFatal, "logging level");
static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT == kElementFloat, "element type");
static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 == kElementUint8, "element type");
static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 == kElementInt32, "element type");
static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 == kElementInt64, "element type");
static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 == kElementFloat16, "element type");
static_assert(OrtArenaAllocator == kArenaAllocator && OrtMemTypeDefault == kMemoryDefault, "memory");

}  // namespace segproof::ort

TEST_CASE("the declarations are those of the header") {
    CHECK(ORT_API_VERSION >= segproof::ort::kApiVersion);
}
