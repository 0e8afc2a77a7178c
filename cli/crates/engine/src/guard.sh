# Ends the processes of a command when the dm that started it goes away.
#
# Standard input is a line to that dm. It brings two words: the id of the
# command's first process, written by that process itself, and another one when
# the command has ended. An input that ends before means that dm is gone.
#
# Builtins and sleep only: images of servers hold little else.
echo $$
read -r leader || exit 0
read -r ended && exit 0

# Signals what is left of the session that the first process leads.
signal() {
    left=
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        pid=${line%% *}
        # The name of the program, in brackets, may contain anything.
        set -- "$1" ${line##*) }
        [ "$5" = "$leader" ] || continue
        [ "$2" = Z ] && continue
        left=yes
        kill -"$1" "$pid" 2>/dev/null
    done
}

# An interrupt makes psql cancel what its server does. A shell at a terminal ends
# by a hangup and not by the others; what is stopped has to go on to end.
signal INT
sleep 0.2
signal TERM
signal HUP
signal CONT
for turn in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    signal 0
    [ "$left" ] || exit 0
    sleep 0.2
done
signal KILL
