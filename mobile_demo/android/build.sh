#!/usr/bin/env bash
# Compile the library and run its tests on the JVM, without Gradle and without Android.
# Usage: build.sh [MATERIAL]
#   MATERIAL  folder that tests/demo/test_kotlin_demo.py writes: networks, pictures, Python's labels of them, and more
#             tests. Without it the tests of parity are left out.
# Needs a JDK, JUnit 4, Hamcrest and JNA as Debian installs them (apt-get install default-jdk-headless junit4 libjna-java)
# and the Kotlin compiler (npm ci --prefix mobile_demo/android). JAVA_LIBRARIES names another folder of the jars.
set -euo pipefail
material=${1:+$(realpath "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")"

kotlin=node_modules/kotlin-compiler
jars=${JAVA_LIBRARIES:-/usr/share/java}
out=build/jvm
library=$out/segproof.jar
tests=$out/segproof-tests.jar
adapters=$out/segproof-adapters.jar
classpath=$library:$jars/junit4.jar:$jars/hamcrest.jar:$jars/jna.jar

for file in "$kotlin/bin/kotlinc" "$jars/junit4.jar" "$jars/hamcrest.jar" "$jars/jna.jar"; do
    if [[ ! -e $file ]]; then
        echo "error: $file is missing; npm ci --prefix mobile_demo/android, apt-get install junit4 libjna-java" >&2
        exit 1
    fi
done

# The compiler is gone before a better compiled one of its own would pay.
export JAVA_OPTS="${JAVA_OPTS:--Xmx1G -XX:TieredStopAtLevel=1 -XX:+UseSerialGC}"
compile() {
    bash "$kotlin/bin/kotlinc" -Werror -progressive -Xjdk-release=11 -no-reflect "$@"
}

sources=(segproof/src/test/kotlin/segproof/*.kt)
if [[ -n $material ]]; then
    sources+=("$material"/*Test.kt)
fi

mkdir -p "$out"
rm -f "$library" "$tests" "$adapters"
compile segproof/src/main/kotlin -Xexplicit-api=strict -module-name segproof -d "$library"
# The adapters, against declarations of the little that they call of Android and its runtimes: compiled, never run.
compile adapters/src/main/kotlin declarations -Xexplicit-api=strict -module-name adapters -classpath "$library" -d "$adapters"
compile "${sources[@]}" -module-name segproof -Xfriend-paths="$library" -classpath "$classpath" -d "$tests"

classes=()
for file in "${sources[@]}"; do
    name=$(basename "$file" .kt)
    if [[ $name == ParityTest && -z $material ]]; then
        echo "ParityTest is left out: it needs the folder of material"
    elif [[ $name == *Test ]]; then
        classes+=("segproof.$name")
    fi
done
java -ea -Dsegproof.vectors=../vectors/vectors.csv ${material:+-Dsegproof.material="$material"} \
    -classpath "$tests:$classpath:$kotlin/lib/kotlin-stdlib.jar" org.junit.runner.JUnitCore "${classes[@]}"
