package segproof

/** What went wrong, in one line that names the file or field and what was wanted there. */
public sealed class SegproofException(message: String) : RuntimeException(message)

/** A manifest is damaged, contradicts itself or is of a version that this library does not read. */
public class ManifestException(message: String) : SegproofException(message)

/** An artifact is not the one of its manifest, or its network gave what the manifest does not say. */
public class ArtifactException(message: String) : SegproofException(message)

/** A picture, or a region of it, cannot be used. */
public class ImageException(message: String) : SegproofException(message)
