// The part of ONNX Runtime's C interface that is used here, declared without its header: the Python wheel, from which
// the runtime is loaded, ships the library alone, and Debian 12 has no package of the header.
//
// That is sound because the table of functions only ever grows: ONNX Runtime promises that the order and the types of
// a published version never change and asserts the sizes of versions 1 and 2 (102 and 119 entries) in its own build.
// Only entries of version 2 are named here, and a runtime is asked for that version. Where a header is to be had
// (-DSEGPROOF_ORT_INCLUDE=DIR), test/ort_abi_test.cpp compares every position and value below with it at compile time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace segproof::ort {

// Opaque objects of the runtime.
struct Env;
struct Status;
struct MemoryInfo;
struct Session;
struct Value;
struct RunOptions;
struct TypeInfo;
struct ShapeInfo;
struct SessionOptions;
struct ModelMetadata;
struct Allocator;

constexpr std::uint32_t kApiVersion = 2;
constexpr std::size_t kApiEntries = 119;

// Positions in the table.
enum Entry : std::size_t {
    kGetErrorMessage = 2,
    kCreateEnv = 3,
    kCreateSessionFromArray = 8,
    kRun = 9,
    kCreateSessionOptions = 10,
    kSetIntraOpNumThreads = 24,
    kSetInterOpNumThreads = 25,
    kSessionGetInputCount = 30,
    kSessionGetOutputCount = 31,
    kSessionGetInputName = 36,
    kSessionGetOutputName = 37,
    kCreateTensorWithDataAsOrtValue = 49,
    kIsTensor = 50,
    kGetTensorMutableData = 51,
    kGetTensorElementType = 60,
    kGetDimensionsCount = 61,
    kGetDimensions = 62,
    kGetTensorShapeElementCount = 64,
    kGetTensorTypeAndShape = 65,
    kCreateCpuMemoryInfo = 69,
    kAllocatorFree = 76,
    kGetAllocatorWithDefaultOptions = 78,
    kReleaseEnv = 92,
    kReleaseStatus = 93,
    kReleaseMemoryInfo = 94,
    kReleaseSession = 95,
    kReleaseValue = 96,
    kReleaseTensorTypeAndShapeInfo = 99,
    kReleaseSessionOptions = 100,
    kSessionGetModelMetadata = 111,
    kModelMetadataLookupCustomMetadataMap = 116,
    kReleaseModelMetadata = 118,
};

// The runtime's enumerations are C enumerations without negative values below: passed as int.
constexpr int kLoggingFatal = 4;
constexpr int kElementFloat = 1;
constexpr int kElementUint8 = 2;
constexpr int kElementInt32 = 6;
constexpr int kElementInt64 = 7;
constexpr int kElementFloat16 = 10;
constexpr int kArenaAllocator = 1;
constexpr int kMemoryDefault = 0;

// The type of each entry that is called.
using GetErrorMessage = const char* (*)(const Status*);
using CreateEnv = Status* (*)(int, const char*, Env**);
using CreateSessionFromArray = Status* (*)(const Env*, const void*, std::size_t, const SessionOptions*, Session**);
using Run = Status* (*)(Session*, const RunOptions*, const char* const*, const Value* const*, std::size_t,
                        const char* const*, std::size_t, Value**);
using CreateSessionOptions = Status* (*)(SessionOptions**);
using SetThreads = Status* (*)(SessionOptions*, int);
using GetCount = Status* (*)(const Session*, std::size_t*);
using GetName = Status* (*)(const Session*, std::size_t, Allocator*, char**);
using CreateTensor = Status* (*)(const MemoryInfo*, void*, std::size_t, const std::int64_t*, std::size_t, int, Value**);
using IsTensor = Status* (*)(const Value*, int*);
using GetData = Status* (*)(Value*, void**);
using GetElementType = Status* (*)(const ShapeInfo*, int*);
using GetShapeCount = Status* (*)(const ShapeInfo*, std::size_t*);
using GetDimensions = Status* (*)(const ShapeInfo*, std::int64_t*, std::size_t);
using GetShape = Status* (*)(const Value*, ShapeInfo**);
using CreateMemoryInfo = Status* (*)(int, int, MemoryInfo**);
using AllocatorFree = Status* (*)(Allocator*, void*);
using GetAllocator = Status* (*)(Allocator**);
using GetMetadata = Status* (*)(const Session*, ModelMetadata**);
using LookUp = Status* (*)(const ModelMetadata*, Allocator*, const char*, char**);
template <typename Object>
using Release = void (*)(Object*);

// What OrtGetApiBase() returns.
struct ApiBase {
    const void* const* (*get_api)(std::uint32_t version);
    const char* (*get_version)();
};

}  // namespace segproof::ort
