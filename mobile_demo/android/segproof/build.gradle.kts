plugins {
    kotlin("jvm")
}

kotlin {
    explicitApi()
    compilerOptions {
        jvmTarget = org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_11
    }
}

java {
    sourceCompatibility = JavaVersion.VERSION_11
    targetCompatibility = JavaVersion.VERSION_11
}

dependencies {
    testImplementation("junit:junit:4.13.2")
    testImplementation("net.java.dev.jna:jna:5.13.0")
}

tasks.test {
    systemProperty("segproof.vectors", rootDir.resolve("../vectors/vectors.csv"))
    exclude("segproof/ParityTest*") // needs material, which tests/demo/test_kotlin_demo.py writes
}
