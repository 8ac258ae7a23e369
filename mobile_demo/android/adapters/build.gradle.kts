plugins {
    id("com.android.library")
}

android {
    namespace = "segproof.android"
    compileSdk = 36
    defaultConfig {
        minSdk = 26
    }
}

dependencies {
    api(project(":segproof"))
    // Keep the runtime that the app uses, and drop the other together with its file.
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.24.3")
    implementation("com.google.ai.edge.litert:litert:2.3.0")
}
