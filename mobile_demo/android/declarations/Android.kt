// What adapters/ calls of Android, declared after its public reference. Nothing here runs: build.sh compiles the adapters
// against it, so that a change of the library that they miss does not go unseen. Gradle leaves this folder out.
@file:Suppress("UNUSED_PARAMETER")

package android.graphics

public abstract class Bitmap {
    public abstract val width: Int
    public abstract val height: Int
    public abstract val config: Config?

    public abstract fun copy(config: Config, isMutable: Boolean): Bitmap

    public abstract fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int)

    public enum class Config { ARGB_8888, HARDWARE }

    public companion object {
        public fun createBitmap(colors: IntArray, width: Int, height: Int, config: Config): Bitmap = TODO("a declaration")
    }
}
