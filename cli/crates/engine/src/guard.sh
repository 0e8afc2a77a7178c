# Ends the processes of a command when the dm process that started it ends, or ends
# the command.
#
# Standard input is a connection to that dm. It receives two lines: the id of the
# command's first process, written by that process itself, and one when the
# command has ended. An earlier end of input means that dm has ended or ends the command.
#
# Uses only builtins and sleep: images of servers contain little else.
echo $$
read -r leader || exit 0
read -r ended && exit 0

# The sessions of the command. Its first process leads the first one.
sessions=" $leader "

# Signals the remaining processes of the command. A process that started a session of its own
# belongs to the command if its parent process does.
signal() {
    left=
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        pid=${line%% *}
        # The name of the program, in brackets, may contain anything. After it come the state, the
        # parent process, the process group and the session.
        set -- "$1" ${line##*) }
        state=$2 parent=$3 session=$5
        case $sessions in
            *" $session "*) ;;
            *)
                { read -r line <"/proc/$parent/stat"; } 2>/dev/null || continue
                set -- "$1" ${line##*) }
                case $sessions in
                    *" $5 "*) sessions="$sessions$session " ;;
                    *) continue ;;
                esac
                ;;
        esac
        [ "$state" = Z ] && continue
        left=yes
        kill -"$1" "$pid" 2>/dev/null
    done
}

# Finds the sessions before a parent process ends: then their processes have another parent.
known=
until [ "$known" = "$sessions" ]; do
    known=$sessions
    signal 0
done

# On an interrupt psql cancels its statement on the server. A shell at a terminal ends
# on a hangup and not on the other signals; a stopped process must continue to end.
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

# A shell whose command is killed starts its next one, which is missing in a list that was
# read before. Therefore all processes are stopped before the first is killed, and the list
# is read again until it is empty.
for turn in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    signal STOP
    signal KILL
    [ "$left" ] || exit 0
    sleep 0.05
done
