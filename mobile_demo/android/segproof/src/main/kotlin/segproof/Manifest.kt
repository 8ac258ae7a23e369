package segproof

import java.io.InputStream
import java.security.MessageDigest

/** Everything an app needs to run an artifact, version 1 of the manifest. */
public data class Manifest(
    val artifact: ArtifactInfo,
    val model: ModelInfo,
    val preprocess: PreprocessSpec,
    val postprocess: PostprocessSpec,
    val labels: LabelSet,
    val graph: GraphInfo,
    val inputs: List<TensorSpec>,
    val outputs: List<TensorSpec>,
    val provenance: Map<String, Any?>,
) {
    /** Compare an artifact with this manifest; raises [ArtifactException]. The stream is read to its end. */
    public fun verify(artifactBytes: InputStream) {
        val digest = MessageDigest.getInstance("SHA-256")
        val buffer = ByteArray(1 shl 16)
        var total = 0L
        while (true) {
            val count = artifactBytes.read(buffer)
            if (count < 0) break
            digest.update(buffer, 0, count)
            total += count
        }
        if (artifact.bytes != null && artifact.bytes != total) {
            throw ArtifactException(
                "${artifact.file}: $total bytes, its manifest says ${artifact.bytes}; export it again",
            )
        }
        val found = digest.digest().joinToString("") { byte -> (byte.toInt() and 255).toString(16).padStart(2, '0') }
        if (artifact.sha256 != null && artifact.sha256 != found) {
            throw ArtifactException(
                "${artifact.file}: SHA-256 ${found.take(12)}… is not its manifest's ${artifact.sha256.take(12)}…; " +
                    "the file was changed or damaged after export: export it again",
            )
        }
    }

    public companion object {
        /** Read a manifest, [where] being its name in messages; raises [ManifestException] naming the field. */
        public fun parse(json: String, where: String = "manifest"): Manifest {
            try {
                return readManifest(parseJson(json))
            } catch (error: ManifestException) {
                throw ManifestException("$where: ${error.message}")
            }
        }
    }
}
