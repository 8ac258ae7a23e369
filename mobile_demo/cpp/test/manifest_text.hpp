// A manifest to take apart.
#pragma once

namespace segproof {

inline const char* const kManifestText = R"({
  "artifact": {"file": "face.onnx", "target": "onnx", "precision": "fp32", "bytes": 12, "sha256": null},
  "model": {"name": "net", "num_classes": 3, "in_channels": 3, "options": {"aux_head": true}},
  "preprocess": {"size_hw": [8, 6], "color": "rgb", "resize": "stretch", "interpolation": "linear_exact",
    "reduce": "none", "pad_value": 114, "scale": 0.00392156862745098, "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225], "layout": "nchw", "dtype": "float32", "version": 1},
  "postprocess": {"resize": "labels", "outside_label": 0},
  "labels": {"names": ["background", "skin", "hair"], "palette": [[0, 0, 0], [255, 214, 64], [94, 60, 153]],
    "ignore_index": 255, "flip_pairs": [[1, 2]]},
  "graph": {"scaling": false, "normalisation": false, "argmax": false},
  "inputs": [{"name": "image", "role": "image", "shape": [1, 3, 8, 6], "dtype": "float32", "layout": "nchw"}],
  "outputs": [{"name": "logits", "role": "logits", "shape": [1, 3, 4, 3], "dtype": "float32", "layout": "nchw"}],
  "provenance": {"checkpoint": "a.pth"},
  "schema_version": 1
})";

}  // namespace segproof
