#!/bin/sh
# Starts RabbitMQ through its own launch script; anything else is run as it is.
set -eu

if [ "${1:-}" != rabbitmq-server ]; then
    exec "$@"
fi
shift

# A limit of a million or more, which some engines set, makes the runtime close
# that many descriptors one by one before it starts.
limit=$(ulimit -Hn)
if [ "$limit" = unlimited ] || [ "$limit" -gt 65536 ]; then limit=65536; fi
ulimit -n "$limit"

if [ -n "${RABBITMQ_ERLANG_COOKIE:-}" ]; then
    rm -f "$HOME/.erlang.cookie"
    (umask 377; printf '%s' "$RABBITMQ_ERLANG_COOKIE" > "$HOME/.erlang.cookie")
    unset RABBITMQ_ERLANG_COOKIE
fi

# Named here, the node is on the network before the broker starts. Otherwise the
# broker starts a second Erlang runtime only to have it start epmd: half a second.
node=${RABBITMQ_NODENAME:-rabbit@$(hostname -s)}
dist_port=${RABBITMQ_DIST_PORT:-25672}

# Erlang's terminal process sleeps a second on every stop. When the broker, its
# database and its logs have closed, nothing is left to wait for.
halt_when_stopped='
spawn(fun() ->
    Ref = monitor(process, rabbit_prelaunch_sup),
    receive
        {_, Ref, _, _, shutdown} ->
            case init:get_status() of {stopping, _} -> halt(0); _ -> ok end
    end
end).'

# Tells the launch script to exec the runtime, which handles SIGTERM by itself,
# instead of staying in between.
export RUNNING_UNDER_SYSTEMD=1
exec rabbitmq-server \
    -sname "$node" \
    -kernel inet_dist_listen_min "$dist_port" -kernel inet_dist_listen_max "$dist_port" \
    -eval "$halt_when_stopped" \
    "$@"
