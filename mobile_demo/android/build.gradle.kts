// For Android projects. The tests of this repository do without Gradle: build.sh.
plugins {
    kotlin("jvm") version "2.4.20" apply false
    id("com.android.library") version "9.0.0" apply false
}
