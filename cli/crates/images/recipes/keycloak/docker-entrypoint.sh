#!/bin/sh
# Everything but `start --optimized` is kc.sh's, as in the official image.
#
# `start --optimized` runs the server itself, with the options that kc.sh would give, tuned for a
# laptop. Where an ahead-of-time cache is present it is used; with DM_AOT=train one is recorded and
# written at a graceful stop. Classes of the JVM's own loader are stored linked, those of Quarkus'
# loader are not, so these two runs take the flat class path. Without a cache the flat path is the
# slower one (every look-up walks 350 jars), so that run keeps Quarkus' loader.
set -eu

home=/opt/keycloak
cache=$home/aot/keycloak.aot

optimized=
for argument in "$@"; do
    [ "$argument" = --optimized ] && optimized=yes
done
if [ "${1:-}" != start ] || [ -z "$optimized" ]; then
    exec "$home/bin/kc.sh" "$@"
fi

class_path=$home/lib/quarkus-run.jar
main=io.quarkus.bootstrap.runner.QuarkusEntryPoint
compiler='-XX:TieredStopAtLevel=4 -XX:ReservedCodeCacheSize=240m'
aot=
if [ "${DM_AOT:-auto}" = train ]; then
    aot=-XX:AOTCacheOutput=$cache
elif [ "${DM_AOT:-auto}" = auto ] && [ -s "$cache" ]; then
    # AOTMode=auto, the default: a cache that does not fit this JVM is ignored.
    aot=-XX:AOTCache=$cache
fi
if [ -n "$aot" ]; then
    compiler='-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=128m'
    class_path=$(cat "$home/lib/classpath")
    main=org.keycloak.quarkus.runtime.KeycloakMain
fi

# - A cache wants the collector and the module options that it was trained with, so they stand here.
# - With the cache C1 alone is quicker to the first answer and enough for a demo. Without it a first
#   start migrates the database for long enough that C2 pays.
# - The default code cache of C1 is so small that it forces a full collection during the start.
# Unquoted on purpose: lists of options.
# shellcheck disable=SC2086
exec java $aot \
    -XX:+UseSerialGC $compiler -XX:InitialCodeCacheSize=64m \
    ${JAVA_OPTS_KC_HEAP:--Xms192m -Xmn96m -Xmx512m} \
    -XX:MetaspaceSize=96M -XX:MaxMetaspaceSize=256m -XX:+ExitOnOutOfMemoryError \
    --add-opens=java.base/java.util=ALL-UNNAMED \
    --add-opens=java.base/java.util.concurrent=ALL-UNNAMED \
    --add-opens=java.base/java.security=ALL-UNNAMED \
    --add-opens=java.base/java.lang=ALL-UNNAMED \
    --enable-native-access=ALL-UNNAMED \
    -Dfile.encoding=UTF-8 -Duser.language=en -Duser.country=US \
    -Djava.security.egd=file:/dev/urandom \
    -Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory \
    -Djava.util.logging.manager=org.jboss.logmanager.LogManager \
    -Djdk.tls.rejectClientInitiatedRenegotiation=true \
    -Dpicocli.disable.closures=true \
    -Dquarkus-log-max-startup-records=10000 \
    -Dkc.script.pid=$$ \
    -Dkc.home.dir="$home" -Djboss.server.config.dir="$home/conf" \
    ${JAVA_OPTS_APPEND:-} \
    -cp "$class_path" "$main" "$@"
