// From the network's output to a label map at the size of the source picture.
#pragma once

#include "segproof/geometry.hpp"
#include "segproof/manifest.hpp"
#include "segproof/tensor.hpp"

namespace segproof {

// Label maps at the network's size, padding included, and at the source's.
struct Labels {
    Picture network;
    Picture source;
};

// Turns one output tensor into labels. Ties go to the lower class. Throws Error when the tensor is not what `output`
// says, holds NaN or infinity, or a label beyond 0..255.
Labels postprocess(const PostprocessSpec& spec, const TensorSpec& output, const Tensor& tensor,
                   const Geometry& geometry);

}  // namespace segproof
