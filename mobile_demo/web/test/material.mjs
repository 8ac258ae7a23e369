// A small manifest that is right.

export const MANIFEST = {
  artifact: { file: 'net.onnx', target: 'onnx', precision: 'fp32', bytes: 3, sha256: null },
  model: { name: 'net', num_classes: 2, in_channels: 3, options: {} },
  preprocess: {
    size_hw: [8, 6], color: 'rgb', resize: 'stretch', interpolation: 'linear_exact', reduce: 'none', pad_value: 114,
    scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1], layout: 'nchw', dtype: 'float32', version: 1,
  },
  postprocess: { resize: 'labels', outside_label: 0 },
  labels: { names: ['a', 'b'], palette: [[0, 0, 0], [255, 0, 0]], ignore_index: 255, flip_pairs: [] },
  graph: { scaling: false, normalisation: false, argmax: false },
  inputs: [{ name: 'image', role: 'image', shape: [1, 3, 8, 6], dtype: 'float32', layout: 'nchw' }],
  outputs: [{ name: 'logits', role: 'logits', shape: [1, 2, 8, 6], dtype: 'float32', layout: 'nchw' }],
  provenance: {},
  schema_version: 1,
};
