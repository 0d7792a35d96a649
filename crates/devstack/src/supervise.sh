# Runs one server and ends it when its owner is gone.
#
#   supervise.sh SCRATCH SIGNAL GRACE_S PROGRAM [ARGUMENT...]
#
# Standard input is a pipe whose only write end the owner holds: end of file means the owner dropped the server,
# panicked or was killed. Then the server gets SIGNAL, and KILL if it is still there after GRACE_S seconds.
# Standard output carries two lines: the server's pid at once, its exit status when it has ended (128 + n: signal n).
# SCRATCH, if not empty, is a folder that is removed at end of file; the line `keep` on standard input prevents it.
scratch=$1 signal=$2 grace_s=$3
shift 3

exec 3<&0
"$@" 3<&- </dev/null >&2 &
server=$!
# From here on a vanished owner must not end this script early. (After the start: the server would inherit it.)
trap '' PIPE
echo "$server"

# The server and its direct children (none where the system has no /proc).
family() {
    echo "$server"
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        # `pid (name) state parent ...`, and the name may contain anything.
        set -- ${line##*) }
        [ "${2-}" = "$server" ] && echo "${line%% *}"
    done
}

(
    exec 2>/dev/null
    read -r _ <&3
    # A frozen process would never see the signal, and a frozen child would outlive its parent.
    kill -s CONT $(family)
    kill -s "$signal" "$server"
    left=$((grace_s * 20))
    while kill -0 "$server" && [ "$left" -gt 0 ]; do
        sleep 0.05
        left=$((left - 1))
    done
    kill -s KILL $(family)
) >/dev/null &
watcher=$!

wait "$server"
status=$?
# The pid is free for others now; the watcher must not signal it any more.
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
echo "$status" 2>/dev/null

word=
read -r word <&3
if [ -n "$scratch" ] && [ "$word" != keep ]; then
    rm -rf -- "$scratch"
fi
