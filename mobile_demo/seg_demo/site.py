"""What the server offers: a closed table of URL paths, made once at the start.

A path that is not in the table does not exist, so there is nothing to traverse and nothing to list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from seg_core.errors import ArtifactError, ConfigError, SegError
from seg_core.manifest import Manifest, hash_artifact

#: Content types by suffix; browsers refuse modules and WebAssembly under any other.
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".webmanifest": "application/manifest+json; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".tflite": "application/octet-stream",
}

#: Of a checkout: this package lies beside the page's sources.
WEB_DIRECTORY = Path(__file__).resolve().parents[1] / "web"

_PAGE = ("index.html", "styles.css", "sw.js", "manifest.webmanifest", "icons/*.svg", "icons/*.png", "src/*.js")

#: Files of onnxruntime-web: two builds, of which the page takes the larger one only for WebGPU.
_ORT_FILES = (
    "ort.wasm.bundle.min.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.bundle.min.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)


#: What plain WebAssembly needs of a runtime: kept for offline use beside what a faster backend has loaded.
_FALLBACKS = {
    "onnx": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "tflite": ("wasm/litert_wasm_internal.js", "wasm/litert_wasm_internal.wasm"),
}


@dataclass(frozen=True)
class Resource:
    """A file, or `content` made at the start. `immutable` ones have a version or hash in their URL."""

    suffix: str
    file: Path | None = None
    content: bytes = b""
    immutable: bool = False

    @property
    def content_type(self) -> str:
        """Value of the Content-Type header."""
        return CONTENT_TYPES[self.suffix]


Site = dict[str, Resource]


def build_site(artifact: Path, manifest: Manifest, golden: str | None, web: Path = WEB_DIRECTORY) -> Site:
    """Return every URL path (`/…`) of the demo of `artifact`.

    `golden` is the JSON of its golden labels. Raises ConfigError when `web` or its npm packages are missing,
    ArtifactError when the page cannot run this kind of artifact.
    """
    if manifest.artifact.target not in ("onnx", "tflite"):
        raise ArtifactError(
            f"{artifact}: the browser runs .onnx and .tflite; export it with  seg-export CHECKPOINT --target onnx"
        )
    if not (web / "index.html").is_file():
        raise ConfigError(
            f"{web}: no web demo here; it is not part of the installed package: run seg-demo from a checkout of the "
            "repository, or name its folder with --web path/to/mobile_demo/web"
        )
    site = {f"/{path.relative_to(web).as_posix()}": _file(path) for pattern in _PAGE for path in web.glob(pattern)}
    site["/"] = site["/index.html"]
    site["/vectors.csv"] = _file(web.parent / "vectors" / "vectors.csv")
    runtime = _add_runtime(site, manifest.artifact.target, web / "node_modules")
    # The hash in the path makes another model another resource to every cache.
    version = (manifest.artifact.sha256 or hash_artifact(artifact))[:16]
    model = f"model/{version}/{artifact.name}"
    site[f"/{model}"] = _file(artifact, immutable=True)
    site[f"/{model}.json"] = Resource(".json", content=manifest.to_json().encode())
    if golden is not None:
        site[f"/model/{version}/golden.json"] = Resource(".json", content=golden.encode())
    address = quote(model)  # a file's name may hold what a URL ends its path with
    offer = {
        "model": address,
        "manifest": f"{address}.json",
        "golden": None if golden is None else f"model/{version}/golden.json",
        "vectors": "vectors.csv",
        "runtimes": {manifest.artifact.target: runtime},
        "fallbacks": [f"{runtime}{name}" for name in _FALLBACKS[manifest.artifact.target]],
    }
    site["/demo.json"] = Resource(".json", content=json.dumps(offer, indent=2).encode())
    return site


def _file(path: Path, immutable: bool = False) -> Resource:
    if not path.is_file():
        raise ConfigError(f"{path}: missing; the demo needs a whole checkout of the repository")
    return Resource(path.suffix, path, immutable=immutable)


def _add_runtime(site: Site, target: str, modules: Path) -> str:
    """Add the files of the runtime of `target`; return the URL path that they have in common."""
    package = "onnxruntime-web" if target == "onnx" else "@litertjs/core"
    folder = modules / package
    try:
        version = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
        prefix = f"vendor/{package.replace('@', '').replace('/', '-')}-{version}/"
        files = _ort_files(folder) if target == "onnx" else _litert_files(folder, modules)
    except (OSError, KeyError, ValueError):
        raise _missing(package, modules) from None
    for name, resource in files.items():
        if resource.file is not None and not resource.file.is_file():
            raise _missing(package, modules)
        site[f"/{prefix}{name}"] = resource
    return prefix


def _missing(package: str, modules: Path) -> SegError:
    return ConfigError(
        f"{modules}: the npm package {package} is not (wholly) there; run  npm ci --prefix {modules.parent}"
    )


def _ort_files(folder: Path) -> Site:
    return {name: Resource(Path(name).suffix, folder / "dist" / name, immutable=True) for name in _ORT_FILES}


def _litert_files(folder: Path, modules: Path) -> Site:
    # A bare package name means nothing to a browser without an import map, and workers have none.
    source = (folder / "dist" / "index.js").read_text(encoding="utf-8")
    bare, relative = 'from "@litertjs/wasm-utils"', 'from "./wasm-utils.js"'
    if source.count(bare) != 1:
        raise ConfigError(
            f"{folder}: another LiteRT.js than this release serves; run  npm ci --prefix {modules.parent}"
        )
    site = {"index.js": Resource(".js", content=source.replace(bare, relative).encode(), immutable=True)}
    site["wasm-utils.js"] = Resource(".js", modules / "@litertjs/wasm-utils/dist/index.js", immutable=True)
    for path in sorted((folder / "wasm").glob("litert_wasm_*")):
        if path.suffix in (".js", ".wasm"):
            site[f"wasm/{path.name}"] = Resource(path.suffix, path, immutable=True)
    return site
